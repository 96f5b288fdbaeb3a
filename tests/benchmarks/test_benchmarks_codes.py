"""Codes for the benchmarks, from files and from trained models."""

import code_sets
import numpy as np
import pytest
import run_codes
from code_sets import load_codes
from run_folders import run_folder

from speechbrain_acom.errors import ConfigurationError, DataError
from speechbrain_acom.inference import load_interface


def test_plain_arrays_need_the_rest_from_the_command(tmp_path):
    codes = [np.full((10 + n, 1), n, dtype=np.int32) for n in range(12)]
    path = tmp_path / "test.npz"
    np.savez(path, *codes)
    found = load_codes(path, cardinalities=(12,), frames_per_s=5)
    # The names of the file in alphabetical order would be another one.
    assert [int(each[0, 0]) for each in found.utterances] == list(range(12))
    assert found.seconds[3] == 13 / 5
    assert found.num_frames.tolist() == [len(each) for each in codes]
    with pytest.raises(ConfigurationError, match="frames_per_s"):
        load_codes(path, cardinalities=(12,))
    with pytest.raises(ConfigurationError, match="cardinalities"):
        load_codes(path, frames_per_s=5)


@pytest.mark.parametrize("content", [None, b"", b"PK\3\4 and no more"])
def test_a_file_without_codes_is_named(tmp_path, content):
    path = tmp_path / "test.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match="test.npz: found no codes"):
        load_codes(path, (2,), 25)


@pytest.mark.parametrize("model", ["recogniser", "variable_recogniser"])
def test_codes_of_a_run_are_those_of_its_device_half(model, request, tmp_path):
    exported = request.getfixturevalue(model)
    run = run_folder(tmp_path, exported, train=3, test=2)
    train, test = run_codes.run_codes(run)
    assert [len(each.utterances) for each in (train, test)] == [3, 2]
    assert test.name == "test-made"
    assert train.targets == ["YES NO"] * 3
    device = load_interface(exported.folder, "device")
    codes, frames = device.file_codes(tmp_path / "train-0.wav")
    assert np.array_equal(train.utterances[0], codes.numpy())
    assert train.num_frames[0] == frames
    assert train.seconds[0] == 0.5
    assert train.cardinalities == device.bottleneck.cardinalities
    assert train.framing == device.bottleneck.framing


def test_codes_are_made_once_for_a_model(recogniser, tmp_path, monkeypatch):
    run = run_folder(tmp_path, recogniser, train=3, test=1)
    first, _ = run_codes.run_codes(run, limit=2)
    assert len(first.utterances) == 2

    def fail(*_):
        raise AssertionError("the model was loaded again")

    with monkeypatch.context() as patched:
        patched.setattr(run_codes, "load_interface", fail)
        again, _ = run_codes.run_codes(run, limit=1)
        assert np.array_equal(again.utterances[0], first.utterances[0])
    # More utterances, or another model, are coded anew.
    assert len(run_codes.run_codes(run)[0].utterances) == 3
    monkeypatch.setattr(run_codes, "file_checksum", lambda path: "another")
    monkeypatch.setattr(run_codes, "load_interface", fail)
    with pytest.raises(AssertionError):
        run_codes.run_codes(run)


def test_a_folder_without_test_sets_is_named(tmp_path):
    with pytest.raises(DataError, match="save/test"):
        run_codes.run_codes(tmp_path)


@pytest.mark.parametrize("names", [["valid"], ["dev-clean", "dev-other"]])
def test_validation_sets_are_found_by_their_names(tmp_path, names):
    with pytest.raises(DataError, match="save/valid"):
        run_codes.names_of_validation_sets(tmp_path)
    (tmp_path / "save").mkdir()
    for name in ("train", "test", *names):
        (tmp_path / "save" / f"{name}.csv").touch()
    assert run_codes.names_of_validation_sets(tmp_path) == names


def test_joined_codes_are_one_utterance():
    codes = [np.zeros((3, 1), int), np.ones((4, 1), int)]
    lengths = np.array([3, 4])
    made = code_sets.CodeSet(
        "made",
        codes,
        (2,),
        lengths / 25,
        lengths,
        code_sets.ONE_TO_ONE,
        ["a", "b"],
        ["", ""],
    )
    joined = made.joined()
    assert joined.utterances[0].ravel().tolist() == [0, 0, 0, 1, 1, 1, 1]
    assert joined.seconds.tolist() == [7 / 25]
    assert joined.frames == made.frames == made.limited(5).frames
    assert made.limited(1).frames == 3
