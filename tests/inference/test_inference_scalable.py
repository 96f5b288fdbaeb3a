"""Messages that may be cut, and those without a checksum, of real halves."""

import json

import pytest
import soundfile
import torch
from exported_models import RATE, sound

from speechbrain_acom.cli import main
from speechbrain_acom.entropy.bitstream import read_header
from speechbrain_acom.errors import BitstreamError, ConfigurationError
from speechbrain_acom.inference import load_interface
from speechbrain_acom.quantizers import ResidualVectorQuantizer


@pytest.fixture
def command(recogniser, tmp_path, monkeypatch):
    """Runs acom on the file a.wav of the current folder, with a model."""
    soundfile.write(tmp_path / "a.wav", sound().numpy(), RATE)
    monkeypatch.chdir(tmp_path)
    return lambda *words: main([*words, "--model", str(recogniser.folder)])


# Messages that may be cut ----------------------------------------------------


@pytest.mark.parametrize("checksum", [True, False])
def test_cut_anywhere_it_answers_from_the_codebooks_that_came(halves, checksum):
    device, cloud = halves
    message = device.encode(sound(), scalable=True, checksum=checksum)
    scores = {
        books: cloud.decode_output(device.encode(sound(), books))
        for books in (1, 2)
    }
    answers = {books: cloud.answer(output) for books, output in scores.items()}
    assert not torch.equal(scores[1], scores[2])
    came = []
    for length in range(len(message) + 1):
        try:
            answer = cloud.decode(message[:length])
        except BitstreamError as error:
            assert "\n" not in str(error)
            came.append(0)
            continue
        read = cloud.read(message[:length])
        came.append(read.num_codebooks)
        assert read.sent_codebooks == 2
        assert answer == answers[came[-1]]
        assert torch.equal(cloud.output(read), scores[came[-1]])
    assert came == sorted(came) and set(came) == {0, 1, 2}
    # The last byte is needed; no byte of the first plane answers too early.
    assert came[-2:] == [1, 2]
    assert came[read_header(message).header_bytes] == 0


def test_scalable_message_of_fewer_codebooks(halves):
    device, cloud = halves
    message = device.encode(sound(), 1, scalable=True)
    read = cloud.read(message)
    assert (read.num_codebooks, read.sent_codebooks) == (1, 1)
    expected = cloud.decode_output(device.encode(sound(), 1))
    assert torch.equal(cloud.output(read), expected)


def test_file_becomes_a_scalable_message(halves, tmp_path):
    device, _ = halves
    path = tmp_path / "a.wav"
    soundfile.write(path, sound().numpy(), RATE, "FLOAT")
    message = device.encode_file(path, scalable=True, checksum=False)
    assert read_header(message).scalable
    assert message == device.encode(sound(), scalable=True, checksum=False)


def test_quantizer_that_cannot_be_truncated(halves, monkeypatch):
    device, cloud = halves
    message = device.encode(sound(), scalable=True)
    monkeypatch.setattr(ResidualVectorQuantizer, "truncatable", False)
    with pytest.raises(ConfigurationError) as caught:
        device.encode(sound(), scalable=True)
    assert str(caught.value) == (
        "scalable: found True, expected False: ResidualVectorQuantizer "
        "cannot be truncated"
    )
    with pytest.raises(BitstreamError, match="cannot be truncated.*forged"):
        cloud.decode(message[:-1])
    assert device.encode(sound())


# Without a checksum ----------------------------------------------------------


def test_no_checksum_is_a_byte_less(halves):
    device, cloud = halves
    message = device.encode(sound())
    bare = device.encode(sound(), checksum=False)
    assert bare[1:] == message[1:-1]
    output = cloud.decode_output(bare)
    assert torch.equal(output, cloud.decode_output(message))


# The command -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "keywords"),
    [
        ([], {}),
        (["--scalable"], {"scalable": True}),
        (["--no-checksum"], {"checksum": False}),
        (
            ["--scalable", "--no-checksum", "--num-codebooks", "1"],
            {"scalable": True, "checksum": False, "num_codebooks": 1},
        ),
    ],
)
def test_command_writes_what_it_was_asked_for(
    command, recogniser, tmp_path, options, keywords
):
    assert command("encode", "a.wav", *options) == 0
    whole = load_interface(recogniser.folder)
    expected = whole.encode_file("a.wav", **keywords)
    assert (tmp_path / "a.acom").read_bytes() == expected


def test_command_tells_what_came_of_a_cut_message(command, tmp_path, capsys):
    command("encode", "a.wav", "--scalable")
    message = (tmp_path / "a.acom").read_bytes()
    (tmp_path / "b.acom").write_bytes(message[:-1])
    capsys.readouterr()
    assert command("decode", "a.acom", "b.acom", "--json") == 0
    output = capsys.readouterr()
    whole, cut = json.loads(output.out)
    assert (whole["num_codebooks"], whole["sent_codebooks"]) == (2, 2)
    assert (cut["num_codebooks"], cut["sent_codebooks"]) == (1, 2)
    assert cut["error"] is None
    assert command("decode", "b.acom") == 0
    output = capsys.readouterr()
    assert output.out == f"{cut['answer']}\n"
    assert output.err == (
        "acom: b.acom: cut, answered from the first 1 of 2 codebooks\n"
    )


def test_command_refuses_what_is_cut_before_the_first_codebook(
    command, tmp_path, capsys
):
    command("encode", "a.wav", "--scalable")
    message = (tmp_path / "a.acom").read_bytes()
    start = read_header(message).header_bytes
    (tmp_path / "a.acom").write_bytes(message[: start + 1])
    capsys.readouterr()
    assert command("decode", "a.acom") == 1
    output = capsys.readouterr()
    assert output.out == "" and output.err.count("\n") == 1
    assert output.err.startswith("acom: a.acom: byte ")


def test_command_refuses_scalable_messages_of_what_cannot_be_truncated(
    command, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(ResidualVectorQuantizer, "truncatable", False)
    assert command("encode", "a.wav", "--scalable") == 1
    output = capsys.readouterr()
    assert output.err.startswith("acom: scalable: found True")
    assert output.err.count("\n") == 1
    assert not (tmp_path / "a.acom").exists()
