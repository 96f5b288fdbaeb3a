"""The study of training for few bits: its settings build what they say."""

import re
from pathlib import Path

import pytest

from speechbrain_acom.hparams import load_hparams, read_tree, write_variant
from speechbrain_acom.studies.lobe_settings import read_lobe_settings

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "hparams" / "studies" / "rate_training.yaml"
DATA = list(read_tree(SHIPPED)["data"])
REFERENCE = "rvq"


def variants(data, folder):
    """Loaded hyperparameters of each point, by task and name."""
    settings = read_lobe_settings(SHIPPED, data)
    for task in settings.tasks.values():
        hparams = ROOT / "recipes" / task.recipe / "hparams"
        known = read_tree(hparams / f"{task.coded}.yaml")
        for name in task.lobes or settings.lobes:
            keys = {**task.keys, **task.coded_keys, **settings.lobes[name]}
            # Another key than the recipe has would be ignored.
            assert {*keys} <= {*known}
            path = write_variant(
                folder / task.name / f"{name}.yaml",
                hparams / f"{task.coded}.yaml",
                keys,
            )
            given = {"data_folder": "x", "pretrained_path": "y"}
            given["output_folder"] = str(folder / "run")
            yield task.name, name, load_hparams(path, given)


@pytest.mark.parametrize("data", DATA)
def test_every_point_differs_in_what_the_study_asks(data, tmp_path):
    epochs, sizes = set(), set()
    weights = {}
    for task, name, hparams in variants(data, tmp_path):
        quantizer = hparams["split"].bottleneck.quantizer
        assert quantizer.rated == (not name.startswith(REFERENCE))
        # Others are there for their codes only.
        if not name.startswith(f"{REFERENCE}_"):
            epochs.add((task, hparams["number_of_epochs"]))
            sizes.add(quantizer.cardinalities)
        if quantizer.rated:
            weights.setdefault(task, []).append(hparams["rate_weight"])
            assert (
                0
                < hparams["rate_ramp_epochs"]
                <= (hparams["number_of_epochs"] / 4)
            )
    assert sizes == {(256,)}
    assert len(epochs) == len(weights)
    for one in weights.values():
        assert one[0] == 0 and len(set(one)) > 2


def test_names_of_points_tell_their_weight():
    for name, keys in read_tree(SHIPPED)["lobes"].items():
        told = re.match(r"rate_(\d+(?:_\d+)?)", name)
        weight = float(told[1].replace("_", ".")) if told else 0.0
        assert float(keys.get("rate_weight", 0)) == weight


def test_ablations_differ_in_one_key(tmp_path):
    points = {name: one for _, name, one in variants("digits", tmp_path)}

    def quantizer(name):
        return points[name]["split"].bottleneck.quantizer

    whole = quantizer("rate_1")
    assert (whole.assignment_weight, whole.recent_frames) == (0.05, 5)
    assert quantizer("assigned").assignment_weight == 0.05
    assert points["assigned"]["rate_weight"] == 0
    assert quantizer("rate_1_nearest").assignment_weight == 0
    assert whole.rate_model.joint
    assert not quantizer("rate_1_not_joint").rate_model.joint
    assert quantizer("rate_1_no_context").recent_frames == 0
    assert points["rate_1"]["distillation_weight"] == 0
    assert points["rate_1_distilled"]["distillation_weight"] > 0


@pytest.mark.parametrize("data", DATA)
def test_every_task_has_the_reference(data):
    settings = read_lobe_settings(SHIPPED, data)
    for task in settings.tasks.values():
        assert REFERENCE in (task.lobes or settings.lobes)
