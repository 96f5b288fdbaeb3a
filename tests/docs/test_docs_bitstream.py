"""What docs/bitstream.md and README.md say to type works, as it says."""

import json
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from speechbrain_acom.cli import main
from speechbrain_acom.inference import load_interface

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "bitstream.md").read_text(encoding="utf-8")


def block(language, word):
    """The block of the page, of a language, that has a word."""
    blocks = re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)
    (found,) = [text for text in blocks if word in text]
    return found


def run(code):
    page = {}
    exec(compile(code, "bitstream.md", "exec"), page)
    return page


@pytest.fixture(autouse=True)
def folder(recogniser, tmp_path, monkeypatch):
    """The current folder, with the model and the recording of the page."""
    shutil.copytree(recogniser.folder, tmp_path / "export")
    samples = 0.1 * np.random.default_rng(0).standard_normal(4 * 16000)
    soundfile.write(tmp_path / "speech.wav", samples, 16000)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_session_answers_like_a_message():
    page = run(block("python", "AcomSession"))
    whole = load_interface("export")
    assert page["answer"] == whole.transcribe_file("speech.wav")


def test_every_packet_of_the_stream_brings_its_frames():
    page = run(block("python", "StreamEncoder"))
    frames = page["codes"].numpy()
    assert len(page["packets"]) == -(-len(frames) // 25) >= 2
    assert [len(part) for part in page["received"][:-1]] == [25] * (
        len(page["packets"]) - 1
    )
    assert np.array_equal(np.concatenate(page["received"]), frames)


def test_cut_message_is_answered_from_the_codebooks_that_came(folder, capsys):
    encode, head, decode = block("", "--scalable").splitlines()
    assert main(shlex.split(encode)[1:]) == 0
    count, source, target = re.fullmatch(
        r"head -c (\d+) (\S+) > (\S+)", head
    ).groups()
    message = (folder / source).read_bytes()
    (folder / target).write_bytes(message[: int(count)])
    capsys.readouterr()
    assert main(shlex.split(decode)[1:]) == 0
    [answer] = json.loads(capsys.readouterr().out)
    assert (answer["num_codebooks"], answer["sent_codebooks"]) == (1, 2)
    one = load_interface("export").transcribe_file("speech.wav", 1)
    assert answer["answer"] == one


def test_options_of_the_table_are_those_of_the_command(capsys):
    with pytest.raises(SystemExit):
        main(["encode", "--help"])
    told = capsys.readouterr().out
    options = re.findall(r"acom encode (--[\w-]+)", PAGE)
    assert len(options) >= 3
    for option in options:
        assert option in told
