import json

import pytest

from speechbrain_acom.corpora import make_sound_corpus
from speechbrain_acom.corpora.__main__ import main
from speechbrain_acom.corpora.folder import CorpusFolder
from speechbrain_acom.errors import DataError


def corpus(path, seed=0):
    return CorpusFolder(path, "sounds", {"seed": seed}, ["audio"])


def test_absent_and_empty_folder_have_to_be_made(tmp_path):
    assert corpus(tmp_path).finished() is None
    assert corpus(tmp_path / "new").finished() is None


def test_folder_that_holds_other_things_is_refused(tmp_path):
    precious = tmp_path / "thesis.txt"
    precious.write_text("years of work")
    with pytest.raises(DataError, match="thesis.txt.*empty folder") as error:
        make_sound_corpus(tmp_path, clips=10)
    assert "\n" not in str(error.value)
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.txt"]


def test_file_in_place_of_the_folder_is_refused(tmp_path):
    path = tmp_path / "file"
    path.write_text("")
    with pytest.raises(DataError, match="found a file"):
        corpus(path).finished()


def test_stranger_beside_a_corpus_is_refused(tmp_path):
    corpus(tmp_path).begin("text")
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match="notes.txt"):
        corpus(tmp_path).finished()


def test_real_data_set_of_the_same_layout_is_refused(tmp_path):
    (tmp_path / "audio").mkdir()
    with pytest.raises(DataError, match="audio"):
        corpus(tmp_path).finished()


def test_finished_corpus_with_other_settings_is_refused(tmp_path):
    corpus(tmp_path).begin("text")
    corpus(tmp_path).finish(clips=1, seconds=1.0)
    with pytest.raises(DataError, match='"seed": 0.*"seed": 1'):
        corpus(tmp_path, seed=1).finished()


@pytest.mark.parametrize("record", ["", "{", "[]", '{"finished": false}'])
def test_corpus_with_a_cut_record_counts_as_unfinished(tmp_path, record):
    corpus(tmp_path).begin("text")
    (tmp_path / "corpus.json").write_text(record)
    assert corpus(tmp_path).finished() is None


def test_beginning_again_removes_what_an_interrupted_run_left(tmp_path):
    corpus(tmp_path).begin("text")
    (tmp_path / "audio").mkdir()
    (tmp_path / "audio" / "half.wav").write_bytes(b"RIFF")
    corpus(tmp_path).begin("text")
    assert not (tmp_path / "audio").exists()


def test_module_entry_makes_once_and_then_says_so(tmp_path, capsys):
    folder = str(tmp_path / "sounds")
    assert main(["sounds", folder, "--clips", "10"]) == 0
    assert "made 10 machine-made clips" in capsys.readouterr().out
    record = tmp_path / "sounds" / "corpus.json"
    before = record.stat().st_mtime_ns
    assert main(["sounds", folder, "--clips", "10"]) == 0
    assert "nothing to do" in capsys.readouterr().out
    assert record.stat().st_mtime_ns == before
    assert json.loads(record.read_text())["settings"]["clips"] == 10


@pytest.mark.parametrize("arguments", [["--clips", "3"], ["--seed", "-1"]])
def test_module_entry_ends_with_one_line_on_a_bad_size(
    tmp_path, capsys, arguments
):
    assert main(["sounds", str(tmp_path / "new"), *arguments]) == 1
    message = capsys.readouterr().err.strip()
    assert message.startswith(arguments[0][2:]) and "\n" not in message
    assert not (tmp_path / "new").exists()
