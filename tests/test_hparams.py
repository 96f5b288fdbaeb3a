"""Variants, includes, overrides and the errors they give."""

import functools
import shutil

import pytest

from speechbrain_acom.errors import ConfigurationError
from speechbrain_acom.hparams import (
    load_hparams,
    load_key,
    read_tree,
    resolve_hparams,
    write_variant,
)

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


def test_one_key_alone_is_built(folder):
    run = folder / "hyperparams.yaml"
    run.write_text(
        "other: &one !new:no.such.Thing {}\n"
        "shared: &two {size: 3} # Of both.\n"
        "wanted: !new:torch.nn.ModuleList\n"
        "  modules: []\n"
        "nested: {first: *two, second: *two}\n"
    )
    assert len(load_key(run, "wanted")) == 0
    assert load_key(run, "nested")["second"] == {"size": 3}
    with pytest.raises(ConfigurationError, match="no key absent"):
        load_key(run, "absent")


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


def test_override_includes_a_file_from_the_current_folder(folder, monkeypatch):
    (folder / "pieces" / "other.yaml").write_text(LAYER.replace("2", "9"))
    (folder / "here").mkdir()
    monkeypatch.chdir(folder / "here")
    overrides = "folder: x\nlayer: !include:../pieces/other.yaml"
    layer = load_hparams("../base.yaml", overrides)["layer"]()
    # All that the key held before is gone, in_features too.
    assert (layer.in_features, layer.out_features) == (1, 9)
    overrides += " {in_features: !ref <size>}"
    assert load_hparams("../base.yaml", overrides)["layer"]().in_features == 3


def test_override_of_keys_in_an_include_keeps_the_include(folder):
    overrides = "folder: x\nlayer: {in_features: 4}"
    layer = load_hparams(folder / "base.yaml", overrides)["layer"]()
    assert (layer.in_features, layer.out_features) == (4, 2)


def test_override_that_includes_a_missing_file_names_it(folder):
    with pytest.raises(ConfigurationError, match="found 'no.yaml', expected"):
        load_hparams(folder / "base.yaml", "folder: x\nlayer: !include:no.yaml")


def test_folder_may_have_any_name(folder, monkeypatch):
    odd = shutil.copytree(folder, folder / "a b%é#'{")
    monkeypatch.chdir(odd)
    hparams = load_hparams("base.yaml", "folder: x")
    assert hparams["layer"]().in_features == 3
    variant = write_variant("new/v.yaml", odd / "base.yaml", {"size": 8})
    hparams = load_hparams(variant, "folder: x")
    assert hparams["layer"]().in_features == 8


def test_variant_is_written_with_parts_of_another_file(folder, monkeypatch):
    settings = folder / "settings.yaml"
    settings.write_text(
        "parts:\n"
        "    # Of this part.\n"
        "    layer: !include:pieces/layer.yaml\n"
        "        in_features: !ref <size> * 2\n"
        "    # Of the next.\n"
        "    size: 5\n"
    )
    monkeypatch.chdir(folder.parent)
    keys = read_tree(settings)["parts"]
    path = folder / "new" / "variant.yaml"
    for _ in range(2):  # what was read is left as it was
        assert write_variant(path, folder / "base.yaml", keys) == path
        assert path.read_text() == (
            "!include:../base.yaml\n"
            "layer: !include:../pieces/layer.yaml\n"
            "  in_features: !ref <size> * 2\n"
            "size: 5\n"
        )
    assert load_hparams(path, "folder: x")["layer"]().in_features == 10
