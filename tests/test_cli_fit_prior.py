"""acom fit-prior: what it writes and says, and how it fails."""

import json
import shutil

import numpy as np
import pytest
import soundfile

from speechbrain_acom.cli import main
from speechbrain_acom.inference import copy_half, export, load_interface

STATIC = "!name:speechbrain_acom.entropy.priors.StaticPrior.fit\n"


@pytest.fixture
def folder(tmp_path, monkeypatch, recogniser):
    """The current folder: a model, three sounds and a fragment of YAML."""
    monkeypatch.delenv("ACOM_MODEL", raising=False)
    monkeypatch.chdir(tmp_path)
    shutil.copytree(recogniser.folder, "model")
    generator = np.random.default_rng(0)
    for name in ("a.wav", "b.flac", "more/c.wav"):
        path = tmp_path / "sounds" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        samples = 0.1 * generator.standard_normal(9600)
        soundfile.write(path, samples, 16000)
    (tmp_path / "mine.yaml").write_text(STATIC)
    return tmp_path


FIT = ["fit-prior", "sounds", "--model", "model", "--prior", "mine.yaml"]


def failed(capsys, arguments):
    """The one line that a command complains with."""
    assert main(arguments) == 1
    output = capsys.readouterr()
    assert output.out == ""
    *_, line = output.err.strip().split("\n")
    assert line.startswith("acom: ") and "Traceback" not in output.err
    return line


def test_copy_stands_beside_the_model(folder, capsys):
    assert main(FIT) == 0
    output = capsys.readouterr()
    size = (folder / "model_mine" / "prior.ckpt").stat().st_size
    copied = load_interface(folder / "model_mine")
    frames = 3 * 8  # 0.6 s at 25 frames/s, two of them merged
    assert output.out == (
        f"{folder}/model_mine: StaticPrior of {size} bytes, fitted on "
        f"{frames} code frames of 3 file(s); model hash "
        f"{copied.model_hash.hex()}\n"
    )
    assert "coding: 100%" in output.err


def test_copy_stands_where_it_is_asked_for(folder, capsys):
    arguments = [*FIT, "-o", "new/folder", "--json"]
    assert main(arguments) == 0
    done = json.loads(capsys.readouterr().out)
    copied = load_interface(folder / "new" / "folder")
    assert done.pop("prior_sha256") != ""
    assert done.pop("prior_bytes") > 0
    assert done == {
        "model": "new/folder",
        "model_hash": copied.model_hash.hex(),
        "prior": "StaticPrior",
        "audio_files": 3,
        "code_frames": 24,
        "skipped": [],
    }


def test_messages_of_the_model_are_refused_by_the_copy(folder, capsys):
    assert main(["encode", "sounds/a.wav", "--model", "model"]) == 0
    assert main([*FIT, "-o", "new"]) == 0
    decode = ["decode", "sounds/a.acom", "--model"]
    old, new = (
        load_interface(name).model_hash.hex() for name in ("model", "new")
    )
    assert main([*decode, "model"]) == 0
    capsys.readouterr()
    line = failed(capsys, [*decode, "new"])
    assert f"message of model {old}, this is model {new}" in line
    assert main(["encode", "sounds/a.wav", "--model", "new"]) == 0
    assert main([*decode, "new"]) == 0


def test_unreadable_audio_is_listed_and_left_out(folder, capsys):
    (folder / "sounds" / "b.flac").write_text("no audio at all")
    assert main([*FIT, "-o", "new", "--json"]) == 1
    output = capsys.readouterr()
    done = json.loads(output.out)
    assert done["audio_files"] == 2
    [reason] = done["skipped"]
    assert reason.startswith("sounds/b.flac: found no readable audio")
    assert f"acom: {reason}\n" in output.err
    load_interface(folder / "new")


def test_nothing_readable(folder, capsys):
    (folder / "bad.wav").write_text("no audio at all")
    arguments = ["fit-prior", "bad.wav", *FIT[2:], "-o", "new"]
    line = failed(capsys, arguments)
    assert "prior: found no readable file of 1" in line
    assert not (folder / "new").exists()


def test_no_audio(folder, capsys):
    (folder / "empty").mkdir()
    line = failed(capsys, ["fit-prior", "empty", *FIT[2:]])
    assert line.startswith("acom: empty: found no file to code")
    line = failed(capsys, ["fit-prior", "gone.wav", *FIT[2:]])
    assert line == "acom: gone.wav: found nothing, expected a file"


def test_output_that_exists_is_left_alone(folder, capsys):
    for output in ("sounds", "model", "mine.yaml"):
        line = failed(capsys, [*FIT, "-o", output])
        assert f"output: found '{output}', expected a folder that" in line
    assert main(FIT) == 0
    capsys.readouterr()
    assert "does not exist yet" in failed(capsys, FIT)


def test_output_below_a_file(folder, capsys):
    assert "mine.yaml" in failed(capsys, [*FIT, "-o", "mine.yaml/new"])


@pytest.mark.parametrize("half", ["device", "cloud"])
def test_half_of_a_model(folder, capsys, half):
    copy_half("model", half, half)
    line = failed(capsys, [*FIT, "--model", half])
    assert f"'{half} with {half}.yaml', expected the export with both" in line


def test_full_disk(folder, capsys, monkeypatch):
    def full(prior, path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(export, "save_prior", full)
    before = set(folder.iterdir())
    assert "MB free, expected room" in failed(capsys, FIT)
    assert set(folder.iterdir()) == before


def test_fragment_that_is_none(folder, capsys):
    line = failed(capsys, [*FIT[:-1], "context"])
    assert "prior: found 'context', expected a fragment like" in line


def test_prior_has_to_be_chosen(folder, capsys):
    with pytest.raises(SystemExit) as caught:
        main(FIT[:-2])
    assert caught.value.code == 2
    assert "--prior" in capsys.readouterr().err
