"""What the study of the quantizers trains: its shipped settings."""

import math
from pathlib import Path

import pytest

from speechbrain_acom.hparams import load_hparams, read_tree, write_variant
from speechbrain_acom.studies.lobe_settings import (
    described,
    read_lobe_settings,
)

ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "recipes"
FRAGMENTS = ROOT / "hparams" / "quantizers"
SHIPPED = ROOT / "hparams" / "studies" / "lobes.yaml"
LOBES = list(read_tree(SHIPPED)["lobes"])

# These have the rate that they have.
OTHER_RATES = {"rvq_scalable": 24, "scalar_1": 128, "scalar_4": 512}
OTHER_RATES |= {"bypass": 128 * 32}
# Run lengths up to 8 for every two frames, on top of the 8 bits of a frame.
OTHER_RATES |= {"merge_similar": 8 + 3 / 2}


def shipped_variant(folder, settings, task, lobe):
    return write_variant(
        folder / f"{lobe}.yaml",
        RECIPES / task.recipe / "hparams" / f"{task.coded}.yaml",
        {**task.keys, **task.coded_keys, **settings.lobes[lobe]},
    )


def loaded(path, folder):
    given = {"data_folder": "x", "pretrained_path": "y"}
    return load_hparams(path, {**given, "output_folder": str(folder / "run")})


@pytest.mark.parametrize("lobe", LOBES)
def test_every_lobe_that_can_has_eight_bits_a_frame(lobe, tmp_path):
    if lobe.startswith("adapted_") and "dac" not in lobe and "bsq" not in lobe:
        pytest.importorskip("vector_quantize_pytorch")
    settings = read_lobe_settings(SHIPPED, "made")
    path = shipped_variant(tmp_path, settings, settings.tasks["cnn14"], lobe)
    bottleneck = loaded(path, tmp_path)["split"].bottleneck
    bits = sum(map(math.log2, bottleneck.cardinalities))
    bits /= bottleneck.merge.factor
    assert bits == pytest.approx(OTHER_RATES.get(lobe, 8), abs=0.1)


@pytest.mark.parametrize("data", ["made", "real"])
@pytest.mark.parametrize("name", ["conformer", "ecapa", "cnn14"])
def test_every_task_takes_its_settings(data, name, tmp_path):
    settings = read_lobe_settings(SHIPPED, data)
    task = settings.tasks[name]
    recipe = RECIPES / task.recipe / "hparams"
    merge = loaded(recipe / f"{task.coded}.yaml", tmp_path)["merge"]
    path = shipped_variant(tmp_path, settings, task, "merge_similar")
    coded = loaded(path, tmp_path)
    assert coded["split"].bottleneck.merge.factor == 2 * merge
    path = write_variant(
        tmp_path / "continuous.yaml",
        recipe / f"{task.continuous}.yaml",
        {**task.keys, **task.continuous_keys},
    )
    continuous = loaded(path, tmp_path)
    assert continuous["split"].bottleneck.quantizer.lossless
    shapes = [
        [weight.shape for weight in one["model"].state_dict().values()]
        for one in (continuous, coded)
    ]
    assert shapes[0] == shapes[1]
    # Another key than the recipe has would be ignored.
    known = read_tree(recipe / f"{task.coded}.yaml")
    assert {*task.keys, *task.coded_keys} - {*known} == {"coarse_merge"}
    assert {*task.keys, *task.continuous_keys} <= {*known}


def test_every_fragment_is_in_the_study():
    keys = read_tree(SHIPPED)["lobes"].values()
    used = {described(one).split()[0].rstrip(",") for one in keys}
    every = {path.name for path in FRAGMENTS.glob("*.yaml")}
    # One needs another encoder, which the demonstration does not have, one needs
    # λ, which is another study, and one is the authors' own, mistakes and all.
    left_out = ("semantic_encoder.yaml", "rvq_rate.yaml", "unmasked_dac.yaml")
    assert every - used == set(left_out)


def test_every_lobe_and_fragment_stands_in_the_documentation():
    text = (ROOT / "docs" / "lobes.md").read_text(encoding="utf-8")
    for name in (*LOBES, *(path.stem for path in FRAGMENTS.glob("*.yaml"))):
        assert f"`{name}`" in text
