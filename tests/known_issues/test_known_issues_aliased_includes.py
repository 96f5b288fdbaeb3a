"""Includes behind a YAML alias moved once for every use of the alias.

`a: &x !include:f.yaml`, then `b: *x`, in a file of another folder ended in a
path that had this folder in it twice.
"""

from speechbrain_acom.hparams import load_hparams


def test_an_aliased_include_is_found_from_another_folder(tmp_path, monkeypatch):
    folder = tmp_path / "settings"
    folder.mkdir()
    (folder / "part.yaml").write_text("!new:torch.nn.ReLU\n")
    (folder / "base.yaml").write_text(
        "first: &part !include:part.yaml\nsecond: *part\n"
        "outer: &outer\n    inner: *part\nother:\n    <<: *outer\n"
    )
    (tmp_path / "variant.yaml").write_text(
        "!include:settings/base.yaml\nmore: 1\n"
    )
    monkeypatch.chdir(tmp_path)
    hparams = load_hparams("variant.yaml")
    parts = [hparams["first"], hparams["second"], hparams["other"]["inner"]]
    assert {type(part).__name__ for part in parts} == {"ReLU"}
