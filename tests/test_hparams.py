"""Variants, includes, overrides and the errors they give."""

import functools

import pytest

from speechbrain_acom.errors import ConfigurationError
from speechbrain_acom.hparams import load_hparams, resolve_hparams

BASE = """\
size: 3
folder: !PLACEHOLDER
layer: !include:pieces/layer.yaml
    in_features: !ref <size>
"""
LAYER = "!name:torch.nn.Linear\nin_features: 1\nout_features: 2\n"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "pieces").mkdir()
    (tmp_path / "pieces" / "layer.yaml").write_text(LAYER)
    (tmp_path / "base.yaml").write_text(BASE)
    return tmp_path


def test_fragment_takes_references_of_the_including_file(folder):
    hparams = load_hparams(folder / "base.yaml", "{folder: x, size: 7}")
    assert isinstance(hparams["layer"], functools.partial)
    assert hparams["layer"]().in_features == 7


def test_variant_in_another_folder_replaces_keys_of_its_base(folder):
    (folder / "variants").mkdir()
    variant = folder / "variants" / "small.yaml"
    variant.write_text("!include:../base.yaml\nsize: 2\nfolder: here\n")
    hparams = load_hparams(variant)
    assert hparams["layer"]().in_features == 2
    assert hparams["folder"] == "here"


def test_variant_of_a_variant(folder):
    (folder / "a.yaml").write_text("!include:base.yaml\nfolder: a\nsize: 4\n")
    (folder / "b.yaml").write_text("!include:a.yaml\nsize: 5\n")
    assert load_hparams(folder / "b.yaml")["folder"] == "a"
    assert load_hparams(folder / "b.yaml")["layer"]().in_features == 5


def test_resolved_text_stands_alone(folder):
    text = resolve_hparams(folder / "base.yaml", {"folder": "x"})
    alone = folder / "elsewhere.yaml"
    alone.write_text(text)
    (folder / "pieces" / "layer.yaml").unlink()
    assert load_hparams(alone)["layer"]().in_features == 3


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ("", "folder: found 'nothing', expected a value: add --folder"),
        ("{nonsense: 1}", "--nonsense: found 1, expected one of: size"),
        ("size: 1\nsize: 2", 'overrides: found \'found duplicate key "size"'),
        ("size: [1", "overrides: found \"expected ',' or ']'"),
        ("size", "overrides: found 'size', expected each key once"),
    ],
)
def test_mistakes_are_named_in_one_line(folder, overrides, words):
    with pytest.raises(ConfigurationError) as caught:
        load_hparams(folder / "base.yaml", overrides)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_file_and_missing_include_are_named(folder):
    with pytest.raises(ConfigurationError, match="absent.yaml"):
        load_hparams(folder / "absent.yaml")
    (folder / "pieces" / "layer.yaml").unlink()
    with pytest.raises(ConfigurationError, match="layer.yaml"):
        load_hparams(folder / "base.yaml", "{folder: x}")
