"""The acom command: what it writes where, and how it fails."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from speechbrain_acom.cli import main
from speechbrain_acom.inference import copy_half, load_interface
from speechbrain_acom.version import __version__


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    monkeypatch.delenv("ACOM_MODEL", raising=False)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder: three sounds, one of them in a folder below."""
    generator = np.random.default_rng(0)
    (tmp_path / "sounds" / "more").mkdir(parents=True)
    for name in ("a.wav", "b.flac", "more/c.wav"):
        samples = 0.1 * generator.standard_normal(9600)
        soundfile.write(tmp_path / "sounds" / name, samples, 16000)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def model(recogniser):
    return str(recogniser.folder)


@pytest.fixture
def messages(folder, model, capsys):
    """The sounds as messages in the folder `messages`."""
    assert main(["encode", "sounds", "-o", "messages", "--model", model]) == 0
    capsys.readouterr()
    return folder / "messages"


def failed(capsys, arguments, status=1):
    """The one line that a command complains with."""
    assert main(arguments) == status
    output = capsys.readouterr()
    assert output.out == ""
    lines = output.err.strip().split("\n")
    assert len(lines) == 1 and lines[0].startswith("acom: ")
    return lines[0]


# What it gives -------------------------------------------------------------


def test_audio_becomes_a_message_and_the_message_text(folder, model, capsys):
    arguments = ["encode", "sounds/a.wav", "-o", "out.acom", "--model", model]
    assert main(arguments) == 0
    size = (folder / "out.acom").stat().st_size
    assert capsys.readouterr().out == f"out.acom: {size} bytes\n"
    assert main(["decode", "out.acom", "--model", model]) == 0
    whole = load_interface(model)
    text = whole.transcribe_file("sounds/a.wav")
    assert capsys.readouterr().out == f"{text}\n"


def test_label_comes_with_its_score(folder, classifier, capsys):
    model = str(classifier.folder)
    main(["encode", "sounds/a.wav", "-o", "out.acom", "--model", model])
    capsys.readouterr()
    assert main(["decode", "out.acom", "--model", model]) == 0
    label = load_interface(model).classify_file("sounds/a.wav")
    assert capsys.readouterr().out == f"{label.name}\t{label.score:.3f}\n"
    assert main(["decode", "out.acom", "--model", model, "--json"]) == 0
    [answer] = json.loads(capsys.readouterr().out)
    assert (answer["answer"], answer["score"]) == (label.name, label.score)


def test_message_stands_next_to_the_audio_by_default(folder, model):
    assert main(["encode", "sounds/a.wav", "--model", model]) == 0
    assert (folder / "sounds" / "a.acom").is_file()


def test_single_message_goes_into_a_folder_that_is_there(folder, model):
    (folder / "out").mkdir()
    arguments = ["encode", "sounds/a.wav", "-o", "out", "--model", model]
    assert main(arguments) == 0
    assert (folder / "out" / "a.acom").is_file()


def test_folder_of_audio_becomes_a_folder_of_messages(messages):
    found = {str(path.relative_to(messages)) for path in messages.rglob("*.*")}
    assert found == {"a.acom", "b.acom", "more/c.acom"}


def test_folder_of_messages_gives_a_line_each(messages, model, capsys):
    assert main(["decode", "messages", "--model", model]) == 0
    output = capsys.readouterr()
    lines = [line.split("\t")[0] for line in output.out.splitlines()]
    assert lines == [
        "messages/a.acom",
        "messages/b.acom",
        "messages/more/c.acom",
    ]
    assert "decoding: 100%" in output.err


def test_several_files_give_json_in_their_order(messages, model, capsys):
    given = ["messages/b.acom", "messages/a.acom"]
    assert main(["decode", *given, "--model", model, "--json"]) == 0
    answers = json.loads(capsys.readouterr().out)
    assert [answer["message"] for answer in answers] == given
    whole = load_interface(model)
    said = whole.decode((messages / "b.acom").read_bytes())
    assert answers[0] == {
        "message": given[0],
        "answer": said,
        "score": None,
        "num_codebooks": 2,
        "sent_codebooks": 2,
        "error": None,
    }


def test_answers_are_written_into_a_file(messages, model, capsys):
    arguments = ["decode", "messages", "--model", model, "--json"]
    assert main([*arguments, "-o", "answers.json"]) == 0
    assert capsys.readouterr().out == ""
    written = (messages.parent / "answers.json").read_text()
    assert main(arguments) == 0
    assert capsys.readouterr().out == written


def test_encoding_reports_json(folder, model, capsys):
    arguments = ["encode", "sounds/a.wav", "-o", "x.acom", "--model", model]
    assert main([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [
        {
            "audio": "sounds/a.wav",
            "message": "x.acom",
            "bytes": (folder / "x.acom").stat().st_size,
            "error": None,
        }
    ]


def test_each_half_needs_its_own_files_only(folder, model, capsys):
    device = copy_half(model, "device", folder / "device")
    cloud = copy_half(model, "cloud", folder / "cloud")
    encode = ["encode", "sounds/a.wav", "-o", "x.acom", "--model"]
    decode = ["decode", "x.acom", "--model"]
    assert main([*encode, str(device)]) == 0
    assert main([*decode, str(cloud)]) == 0
    capsys.readouterr()
    assert "device.yaml" in failed(capsys, [*encode, str(cloud)])
    assert "cloud.yaml" in failed(capsys, [*decode, str(device)])


def test_model_comes_from_the_environment(folder, model, monkeypatch):
    monkeypatch.setenv("ACOM_MODEL", model)
    assert main(["encode", "sounds/a.wav"]) == 0


def test_resampling_is_told(folder, model, capsys):
    soundfile.write("odd.wav", np.zeros((7350, 2)), 11025)
    assert main(["encode", "odd.wav", "--model", model]) == 0
    told = "odd.wav: 11025 Hz with 2 channel(s) turned into 16000 Hz mono"
    assert told in capsys.readouterr().err


def test_help_and_version_need_no_model(capsys):
    for option, words in (("--help", "encode"), ("--version", __version__)):
        with pytest.raises(SystemExit) as caught:
            main([option])
        assert caught.value.code == 0
        assert words in capsys.readouterr().out


# How it fails --------------------------------------------------------------


@pytest.mark.parametrize("variable", [None, ""])
def test_no_model(folder, capsys, monkeypatch, variable):
    if variable is not None:
        monkeypatch.setenv("ACOM_MODEL", variable)
    line = failed(capsys, ["encode", "sounds/a.wav"])
    assert line == "acom: model: found none, expected --model or ACOM_MODEL"


@pytest.mark.parametrize(
    "arguments", [[], ["transcode", "x"], ["encode"], ["decode", "--rate=3"]]
)
def test_command_that_is_none(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: acom" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["encode", "decode"])
def test_missing_input(folder, model, capsys, command):
    line = failed(capsys, [command, "nothing.here", "--model", model])
    assert line == "acom: nothing.here: found nothing, expected a file"


@pytest.mark.parametrize("command", ["encode", "decode"])
def test_empty_folder(folder, model, capsys, command):
    (folder / "empty").mkdir()
    line = failed(capsys, [command, "empty", "--model", model])
    assert line.startswith("acom: empty: found no file to code")


def test_folder_that_is_no_model(folder, capsys):
    arguments = ["encode", "sounds/a.wav", "--model", "sounds"]
    assert "which holds device.yaml" in failed(capsys, arguments)


def test_file_that_is_no_audio(folder, model, capsys):
    (folder / "text.wav").write_text("no audio at all")
    line = failed(capsys, ["encode", "text.wav", "--model", model])
    assert "text.wav: found no readable audio" in line
    assert not (folder / "text.acom").exists()


def test_bad_audio_among_good(folder, model, capsys):
    (folder / "sounds" / "b.flac").write_text("no audio at all")
    arguments = ["encode", "sounds", "-o", "out", "--json", "--model", model]
    assert main(arguments) == 1
    output = capsys.readouterr()
    done = json.loads(output.out)
    assert [one["error"] is None for one in done] == [True, False, True]
    assert done[1]["message"] is None
    assert f"acom: {done[1]['error']}\n" in output.err
    assert len(list((folder / "out").rglob("*.acom"))) == 2


def test_bad_message_among_good(messages, model, capsys):
    good = (messages / "a.acom").read_bytes()
    (messages / "b.acom").write_bytes(good[:-1])
    arguments = ["decode", "messages", "--model", model]
    assert main([*arguments, "--json"]) == 1
    output = capsys.readouterr()
    answers = json.loads(output.out)
    assert [one["error"] is None for one in answers] == [True, False, True]
    assert answers[1]["answer"] is None
    assert "cut short or corrupted" in answers[1]["error"]
    assert f"acom: messages/b.acom: {answers[1]['error']}\n" in output.err
    assert main(arguments) == 1
    output = capsys.readouterr()
    assert len(output.out.splitlines()) == 2
    assert "Traceback" not in output.err


def test_bad_message_alone(folder, model, capsys):
    (folder / "bad.acom").write_bytes(b"hello")
    line = failed(capsys, ["decode", "bad.acom", "--model", model])
    assert line.startswith("acom: bad.acom: ") and "starts with 68" in line


def test_message_of_another_model(messages, classifier, capsys):
    arguments = ["decode", "messages/a.acom", "--model"]
    line = failed(capsys, [*arguments, str(classifier.folder)])
    assert "decode it with the model and the prior that wrote it" in line


def test_output_that_cannot_be_written(messages, model, capsys):
    # A file where a folder is needed: root may write everywhere else.
    (messages.parent / "file").write_text("")
    encode = ["encode", "sounds/a.wav", "-o", "file/x.acom"]
    assert "file" in failed(capsys, [*encode, "--model", model])
    decode = ["decode", "messages/a.acom", "-o", "file/x.txt"]
    assert "file/x.txt" in failed(capsys, [*decode, "--model", model])


def test_two_files_for_one_message(folder, model, capsys):
    samples, rate = soundfile.read("sounds/a.wav")
    soundfile.write("sounds/a.flac", samples, rate)
    line = failed(capsys, ["encode", "sounds", "-o", "out", "--model", model])
    assert "out/a.acom: found two audio files" in line
    assert not (folder / "out").exists()


# As a process --------------------------------------------------------------


def run(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "speechbrain_acom.cli", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )


def test_process_prints_the_answer_and_nothing_else(messages, model):
    done = run("decode", "messages/a.acom", ACOM_MODEL=model)
    text = load_interface(model).decode((messages / "a.acom").read_bytes())
    assert (done.returncode, done.stdout) == (0, f"{text}\n")


def test_process_fails_in_one_line(folder, model):
    done = run("encode", "nothing.wav", "--model", model)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "acom: nothing.wav: found nothing, expected a file\n"


def test_mistake_in_the_command_is_told_without_loading_torch():
    code = (
        "import sys; from speechbrain_acom.cli import main;"
        "status = main(['encode', 'a.wav', '--model', 'x']);"
        "sys.exit(status + 10 * ('torch' in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True)
    assert done.returncode == 1
