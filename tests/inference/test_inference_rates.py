"""Messages of fewer codebooks, and of runs of like frames."""

import numpy as np
import pytest
import soundfile
import torch

from speechbrain_acom.cli import main
from speechbrain_acom.entropy.bitstream import (
    read_header,
    read_message,
    write_message,
)
from speechbrain_acom.entropy.framing import Framing
from speechbrain_acom.errors import BitstreamError, ConfigurationError
from speechbrain_acom.inference import copy_half, load_interface
from speechbrain_acom.quantizers import ResidualVectorQuantizer

RATE = 16000


def sound(seconds=1.0, seed=0):
    """Noise, silence, noise; a third of the time each."""
    generator = torch.Generator().manual_seed(seed)
    third = round(seconds * RATE / 3)
    parts = [torch.randn(third, generator=generator) for _ in range(3)]
    return torch.cat([0.1 * parts[0], 0.0 * parts[1], 0.1 * parts[2]])


@pytest.fixture(params=["recogniser", "variable_recogniser"])
def model(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def halves(model, tmp_path):
    return [
        load_interface(copy_half(model.folder, half, tmp_path / half), half)
        for half in ("device", "cloud")
    ]


# Fewer codebooks -------------------------------------------------------------


def test_the_decoder_finds_the_number_of_codebooks(model, halves):
    device, cloud = halves
    scores = []
    for books in (1, 2):
        codes, num_frames = device.signal_codes(sound(), books)
        message = device.encode(sound(), books)
        assert message == device.message(codes, num_frames)
        assert read_header(message).num_codebooks == (1 if books == 1 else None)
        bottleneck = model.split.bottleneck
        features = bottleneck.decode(codes.unsqueeze(0), num_frames)
        direct = model.split.cloud(features, torch.ones(1))
        scores.append(cloud.decode_output(message))
        assert torch.allclose(scores[-1], direct, atol=1e-5)
    assert not torch.allclose(*scores)


def test_all_codebooks_are_the_default(halves):
    device, _ = halves
    whole = device.encode(sound())
    assert read_header(whole).num_codebooks is None
    assert device.encode(sound(), num_codebooks=2) == whole
    assert len(device.encode(sound(), num_codebooks=1)) < len(whole)


def test_files_and_answers_take_a_number_of_codebooks(recogniser, tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, sound().numpy(), RATE)
    asr = load_interface(recogniser.folder)
    message = asr.encode_file(path, num_codebooks=1)
    assert read_header(message).num_codebooks == 1
    text = asr.transcribe_file(path, num_codebooks=1)
    assert text == asr.decode(message)


@pytest.mark.parametrize("books", [0, 3])
def test_codebooks_that_are_not_there_are_refused(halves, books):
    with pytest.raises(ConfigurationError, match="^num_codebooks: found"):
        halves[0].encode(sound(), books)


def test_truncated_message_for_a_quantizer_that_cannot(halves, monkeypatch):
    device, cloud = halves
    message = device.encode(sound(), 1)
    monkeypatch.setattr(ResidualVectorQuantizer, "truncatable", False)
    with pytest.raises(
        BitstreamError, match="cannot be trunc.*forged"
    ) as caught:
        cloud.decode(message)
    assert "\n" not in str(caught.value)


def test_command_sends_the_first_codebooks(recogniser, tmp_path, capsys):
    soundfile.write(tmp_path / "a.wav", sound().numpy(), RATE)
    model = ["--model", str(recogniser.folder)]
    encode = ["encode", str(tmp_path / "a.wav"), *model]
    assert main([*encode, "--num-codebooks", "1"]) == 0
    message = (tmp_path / "a.acom").read_bytes()
    whole = load_interface(recogniser.folder)
    assert message == whole.encode_file(tmp_path / "a.wav", 1)
    capsys.readouterr()
    assert main(["decode", str(tmp_path / "a.acom"), *model]) == 0
    assert capsys.readouterr().out == f"{whole.decode(message)}\n"


def test_command_tells_once_what_codebooks_there_are(
    recogniser, tmp_path, capsys
):
    for name in ("a.wav", "b.wav"):
        soundfile.write(tmp_path / name, sound().numpy(), RATE)
    arguments = ["encode", str(tmp_path), "--num-codebooks", "3"]
    assert main([*arguments, "--model", str(recogniser.folder)]) == 1
    output = capsys.readouterr()
    assert output.err.count("num_codebooks") == 1
    assert output.err.strip().endswith("expected an integer from 1 to 2")
    assert not list(tmp_path.glob("*.acom"))


# Runs of like frames ---------------------------------------------------------


def test_runs_cover_the_frames_and_silence_takes_few(variable_recogniser):
    device = load_interface(variable_recogniser.folder, "device")
    assert device.prior.cardinalities == (12, 16, 16)
    codes, num_frames = device.signal_codes(sound(3.0))
    runs = codes[:, 0] + 1
    assert runs.sum() == num_frames
    ends = runs.cumsum(0)
    thirds = torch.tensor([num_frames / 3, 2 * num_frames / 3])
    first, middle, last = torch.bucketize(ends, thirds).bincount(minlength=3)
    assert middle < first / 2 and middle < last / 2


def test_runs_come_back_from_the_bytes(variable_recogniser):
    whole = load_interface(variable_recogniser.folder)
    framing = whole.bottleneck.framing
    for seconds in (0.01, 0.3, 2.0):
        codes, num_frames = whole.signal_codes(sound(seconds))
        message = whole.encode(sound(seconds))
        read = read_message(message, whole.prior, whole.model_hash, framing)
        assert np.array_equal(read.codes, codes.numpy())
        assert whole.decode_output(message).shape[1] == num_frames


def test_forged_runs_are_refused(variable_recogniser):
    cloud = load_interface(variable_recogniser.folder, "cloud")
    codes = np.array([[3, 0, 0], [11, 0, 0]])
    message = write_message(
        codes, 16, cloud.prior, cloud.model_hash, Framing(run_lengths=True)
    )
    assert isinstance(cloud.decode(message), str)
    # The same payload for fewer frames: the last run is too long.
    body = message[:3] + bytes([9]) + message[4:-1]
    checksum = next(
        bytes([byte]) for byte in range(256) if _passes(body + bytes([byte]))
    )
    with pytest.raises(BitstreamError, match="found runs of 16 frames"):
        cloud.decode(body + checksum)


def _passes(message):
    try:
        read_header(message)
    except BitstreamError:
        return False
    return True


def test_cloud_half_has_no_penalty(variable_recogniser):
    names = {
        half: load_interface(variable_recogniser.folder, half).state_dict()
        for half in ("device", "cloud")
    }
    penalty = "mods.split.bottleneck.merge.partition.penalty"
    assert penalty in names["device"] and penalty not in names["cloud"]
