import re
from dataclasses import fields

import pytest
import ruamel.yaml
import torch
from prepare_helpers import RECIPES, ROOT
from speechbrain.utils.run_opts import RunOptions

from speechbrain_acom.hparams import (
    load_hparams,
    load_keys,
    resolve_hparams,
)
from speechbrain_acom.inference import AcomASR, AcomClassifier
from speechbrain_acom.splits import Split

FILES = sorted(RECIPES.glob("*/**/hparams/*.yaml"))
NAMES = [path.stem for path in FILES]
QUANTIZED = [path for path in FILES if path.stem.endswith("_rvq")]
POINTS = sorted(RECIPES.glob("*/**/hparams/paper/*.yaml"))
PLACEHOLDERS = {"data_folder": "corpus", "pretrained_path": "model"}


def overrides_of(path):
    quantized = path in QUANTIZED or path in POINTS
    keys = ("data_folder", *(["pretrained_path"] * quantized))
    return {key: PLACEHOLDERS[key] for key in keys}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    # A checkpointer makes its folder as soon as it is built.
    monkeypatch.chdir(tmp_path)


def built(path):
    # Full-size models take neither memory nor time on this device.
    with torch.device("meta"):
        return load_hparams(path, overrides_of(path))


def chain(path):
    """Text of a file and of the files that it includes as a base."""
    text = path.read_text()
    base = re.match(r"!include:(\S+)\n", text)
    return text + (chain(path.parent / base[1]) if base else "")


def used_names():
    """What train.py files and the package ask the hyperparameters for."""
    sources = [*ROOT.glob("speechbrain_acom/**/*.py")]
    sources += {path.parents[1] / "train.py" for path in FILES}
    code = "\n".join(path.read_text() for path in sources)
    names = set(re.findall(r"""hparams\[["'](\w+)|hparams\.(\w+)""", code))
    names = {name for pair in names for name in pair if name}
    names |= {*AcomASR.TASK_KEYS, *AcomClassifier.TASK_KEYS}
    return names | {field.name for field in fields(RunOptions)}


def test_every_recipe_is_found():
    assert {"mini", "conformer_small", "ecapa", "cnn14"} <= set(NAMES)


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_objects_are_built_and_fit_together(path):
    hparams = built(path)
    assert isinstance(hparams["split"], Split)
    quantizer = hparams["split"].bottleneck.quantizer
    assert quantizer.lossless == (path not in QUANTIZED)
    if not quantizer.lossless:
        size = hparams["codebook_size"]
        assert quantizer.cardinalities == (size,) * hparams["num_codebooks"]
    assert hparams["split"].bottleneck.merge.factor == hparams["merge"]
    # Every weight of the unsplit model is a weight of the split one.
    whole = {id(weight) for weight in hparams["split"].parameters()}
    assert all(id(weight) in whole for weight in hparams["model"].parameters())
    assert set(hparams["checkpointer"].recoverables) == {
        *("split", "normalize", "scheduler", "rate_schedule", "counter")
    }


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_what_the_user_has_to_say_is_asked_for(path):
    for key in overrides_of(path):
        others = {k: v for k, v in overrides_of(path).items() if k != key}
        with pytest.raises(ValueError, match=f"{key}: .*add --{key}="):
            resolve_hparams(path, others)


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_every_key_is_used(path):
    text = chain(path)
    tree = ruamel.yaml.YAML().load(resolve_hparams(path, overrides_of(path)))
    referenced = set(re.findall(r"<(\w+)>", text))
    keys = {key for key in tree if not key.startswith("__")}
    assert keys - referenced - used_names() == set()


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_every_continuous_model_has_a_quantized_one(path):
    if path in QUANTIZED:
        continuous = path.stem.removesuffix("_rvq")
        assert path.with_stem(continuous).is_file()
    else:
        assert path.with_stem(f"{path.stem}_rvq").is_file()


@pytest.mark.parametrize("path", QUANTIZED, ids=[p.stem for p in QUANTIZED])
def test_quantized_model_can_start_from_its_continuous_one(path):
    continuous = built(path.with_stem(path.stem.removesuffix("_rvq")))
    quantized = built(path)
    shapes = [
        {
            name: value.shape
            for name, value in parts["model"].state_dict().items()
        }
        for parts in (continuous, quantized)
    ]
    assert shapes[0] == shapes[1]
    for key in ("split_layer", "sample_rate", "n_mels", "test_loader_kwargs"):
        assert continuous[key] == quantized[key]
    for key in ("train", "test"):
        for parts in ("splits", "folds"):
            name = f"{key}_{parts}"
            assert continuous.get(name) == quantized.get(name)
    # Two runs in one folder would resume each other.
    assert continuous["output_folder"] != quantized["output_folder"]


def test_no_two_recipes_share_an_output_folder():
    folders = [(path.parent, built(path)["output_folder"]) for path in FILES]
    assert len(set(folders)) == len(folders)


@pytest.mark.parametrize("path", POINTS, ids=[path.stem for path in POINTS])
def test_a_point_of_the_paper_is_what_its_name_says(path):
    layer, books, entries = map(int, re.findall(r"\d+", path.stem))
    hparams = built(path)
    assert hparams["split"].split_layer == layer
    quantizer = hparams["split"].bottleneck.quantizer
    assert quantizer.cardinalities == (entries,) * books
    # A few lines that differ from the base.
    tree = ruamel.yaml.YAML().load(path.read_text())
    assert set(tree) == {
        *("output_folder", "split_layer", "num_codebooks", "codebook_size")
    }


def test_the_papers_points_are_all_there():
    sizes = "1x128 1x256 1x1024 1x8192 2x1024 8x1024 12x1024".split()
    names = {f"m{layer}_{size}" for layer in (4, 8) for size in sizes}
    assert {path.stem for path in POINTS} == names
    folders = {
        load_keys(path, ["output_folder"])["output_folder"] for path in POINTS
    }
    assert len(folders) == len(POINTS)
