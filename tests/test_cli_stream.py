"""Streams from the command line."""

import json

import pytest
import soundfile
from exported_models import RATE, sound, tiny_recogniser

from speechbrain_acom.cli import main
from speechbrain_acom.inference import load_interface


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("streaming")
    model = tiny_recogniser(folder, yaml="mini_streaming_rvq", merge=1)
    return str(model.folder)


@pytest.fixture
def speech(tmp_path):
    path = tmp_path / "speech.wav"
    soundfile.write(path, sound(2.0).numpy(), RATE, "FLOAT")
    return path


@pytest.mark.parametrize("books", [[], ["--num-codebooks", "1"]])
def test_a_stream_is_answered_as_a_message_is(
    model, speech, tmp_path, capsys, books
):
    target = tmp_path / "speech.acom"
    command = ["encode", str(speech), "-o", str(target), "--model", model]
    assert main([*command, "--stream", *books]) == 0
    assert target.read_bytes()[:1] == b"\xae"
    capsys.readouterr()
    decode = ["decode", str(target), "--json", "--model", model, *books]
    assert main(decode) == 0
    [answer] = json.loads(capsys.readouterr().out)
    k = 1 if books else None
    whole = load_interface(model)
    assert answer["answer"] == whole.transcribe_file(speech, k)
    assert answer["error"] is None


def test_a_stream_is_not_scalable(model, speech, capsys):
    command = ["encode", str(speech), "--stream", "--scalable"]
    assert main([*command, "--model", model]) != 0
    assert "--scalable: found" in capsys.readouterr().err


def test_a_model_without_chunks_is_named(recogniser, speech, capsys):
    command = ["encode", str(speech), "--stream"]
    assert main([*command, "--model", str(recogniser.folder)]) != 0
    assert "chunks.test_config: found" in capsys.readouterr().err


def test_a_damaged_stream_is_one_line(model, speech, tmp_path, capsys):
    target = tmp_path / "speech.acom"
    command = ["encode", str(speech), "-o", str(target), "--model", model]
    assert main([*command, "--stream"]) == 0
    content = bytearray(target.read_bytes())
    content[1] ^= 1
    target.write_bytes(content)
    capsys.readouterr()
    assert main(["decode", str(target), "--model", model]) != 0
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
