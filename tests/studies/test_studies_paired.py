"""Runs beside each other, utterance by utterance."""

import json

import numpy as np
import pytest

from speechbrain_acom.errors import DataError
from speechbrain_acom.metrics.scores import word_errors
from speechbrain_acom.studies.paired import (
    AnsweredSet,
    compare_rows,
    compared,
    main,
)
from speechbrain_acom.studies.results import read_rows, write_results

WORDS = "ID,duration,wav,spk_id,wrd\na,1,a.wav,1,ONE TWO\nb,1,b.wav,1,SIX\n"
LABELS = (
    "ID,duration,wav,fold,fs_id,class_id,class_name\n"
    "a,1,a.wav,1,77,0,dog\nb,1,b.wav,1,77,1,siren\nc,1,c.wav,1,78,0,dog\n"
)


def coded_run(study, lobe, manifest, answers, sizes, test="test", task="t"):
    run = study / "d" / task / lobe
    (run / "save").mkdir(parents=True, exist_ok=True)
    (run / "save/train.csv").write_text("ID,wrd\nz,ONE\n")
    (run / "save/test.csv").write_text(manifest)
    messages = run / "coded" / test / "messages/real"
    messages.mkdir(parents=True)
    given = []
    for name, answer in answers.items():
        path = messages / f"{name}.acom"
        path.write_bytes(bytes(sizes[name]))
        given.append({"message": str(path), "answer": answer})
        # A control's answers are none of the model's.
        control = str(path).replace("/real/", "/random/")
        given.append({"message": control, "answer": "NOTHING OF THE SORT"})
    (run / "coded" / test / "answers.json").write_text(json.dumps(given))
    return run


def read(run, test="test"):
    return AnsweredSet.read(run / "coded" / test, run / "save")


def test_words_are_counted(tmp_path):
    answers = {"a": "ONE TOO", "b": "SIX"}
    run = coded_run(tmp_path, "x", WORDS, answers, {"a": 20, "b": 9})
    found = read(run)
    assert found.names == ["a", "b"]
    assert found.errors.tolist() == [1, 0]
    assert found.units.tolist() == [2, 1]
    assert found.message_bytes.tolist() == [20, 9]
    assert found.groups == ["a", "b"]


def test_characters_are_counted_as_the_recipes_do(tmp_path):
    answers = {"a": "ONE TOO", "b": "SIXTY"}
    run = coded_run(tmp_path, "x", WORDS, answers, {"a": 20, "b": 9})
    found = AnsweredSet.read(run / "coded/test", run / "save", characters=True)
    assert found.errors.tolist() == [1, 2]
    right = ["ONE TWO", "SIX"]
    expected = word_errors(right, list(answers.values()))["cer_percent"]
    share = found.errors.sum() / found.units.sum()
    assert 100 * share == pytest.approx(expected)


def test_labels_are_counted_and_clips_of_a_recording_belong_together(tmp_path):
    answers = {"a": "dog", "b": "dog", "c": "dog"}
    sizes = dict.fromkeys("abc", 5)
    found = read(coded_run(tmp_path, "x", LABELS, answers, sizes))
    assert found.errors.tolist() == [0, 1, 0]
    assert found.units.tolist() == [1, 1, 1]
    assert found.groups == ["77", "77", "78"]


def answered(errors, sizes):
    names = [str(number) for number in range(len(errors))]
    errors = np.array(errors, dtype=float)
    return AnsweredSet(
        names, names, errors, np.ones(len(errors)), np.array(sizes)
    )


def test_a_run_is_no_different_from_itself():
    run = answered([1, 0, 1, 0], [5, 6, 7, 8])
    row = compared(run, run)
    assert row["bytes_ratio_low"] == row["bytes_ratio_high"] == 1.0
    assert row["more_errors_points_low"] == row["more_errors_points_high"] == 0


def test_what_is_hard_for_both_does_not_widen_the_interval():
    generator = np.random.default_rng(0)
    hard = generator.integers(0, 2, 200)
    worse = np.where(np.arange(200) % 20 == 0, 1, hard)
    size = np.full(200, 10)
    row = compared(answered(worse, size // 2), answered(hard, size))
    assert row["bytes_ratio"] == 0.5
    expected = 100.0 * (worse - hard).mean()
    assert row["more_errors_points"] == pytest.approx(expected)
    assert 0 <= row["more_errors_points_low"] < expected
    assert row["more_errors_points_high"] < 2.5 * expected


def test_other_test_sets_are_refused():
    with pytest.raises(DataError, match="the same test set"):
        compared(answered([1], [5]), answered([1, 0], [5, 5]))


def study_of(tmp_path):
    """Two runs, one of which is also coded with its first codebook only."""
    answers = {"a": "ONE TWO", "b": "SIX"}
    coded_run(tmp_path, "rvq", WORDS, answers, {"a": 20, "b": 20})
    coded_run(tmp_path, "two", WORDS, answers, {"a": 30, "b": 30})
    coded_run(
        tmp_path,
        "two",
        WORDS,
        {"a": "ONE", "b": "SIX"},
        {"a": 10, "b": 10},
        test="test_first_1",
    )
    base = {"data": "d", "task": "t", "test_set": "test", "message_bps": 1.0}
    rows = [
        {**base, "lobe": "rvq", "num_codebooks": 1},
        {**base, "lobe": "two", "num_codebooks": 2},
        {**base, "lobe": "two", "num_codebooks": 1},
        {**base, "lobe": "bypass", "num_codebooks": 0, "message_bps": None},
    ]
    return write_results(tmp_path / "results.json", rows, "a set", 0, "make")


def test_rows_get_columns(tmp_path, capsys):
    path = study_of(tmp_path)
    options = ["--folder", str(tmp_path), "--references", "rvq"]
    assert main([str(path), *options]) == 0
    assert "3 rows compared with rvq" in capsys.readouterr().out
    rows = read_rows(path)
    assert [row.get("bytes_ratio") for row in rows] == [1.0, 1.5, 0.5, None]
    assert rows[2]["more_errors_points"] == pytest.approx(100 / 3, abs=0.01)
    assert json.loads(path.read_text())["command"] == "make"


def test_reference_may_be_coded_with_fewer_codebooks_too(tmp_path):
    path = study_of(tmp_path)
    assert compare_rows(path, tmp_path, ["two"]) == 3
    ratios = [row.get("bytes_ratio") for row in read_rows(path)]
    assert ratios == pytest.approx([2 / 3, 1.0, 1 / 3, None], abs=1e-4)


def test_several_references_have_columns_each(tmp_path):
    path = study_of(tmp_path)
    assert compare_rows(path, tmp_path, ["rvq", "two"]) == 3
    rows = read_rows(path)
    first = [row.get("bytes_ratio") for row in rows]
    assert first == [1.0, 1.5, 0.5, None]
    second = [row.get("bytes_ratio_from_two") for row in rows]
    assert second == pytest.approx([2 / 3, 1.0, 1 / 3, None], abs=1e-4)
    assert rows[0]["more_errors_points_high_from_two"] == 0


def test_rows_of_runs_that_are_gone_keep_what_they_have(tmp_path):
    path = study_of(tmp_path)
    assert compare_rows(path, tmp_path, ["rvq"]) == 3
    before = read_rows(path)
    (tmp_path / "d/t/two").rename(tmp_path / "gone")
    assert compare_rows(path, tmp_path, ["rvq"]) == 1
    assert read_rows(path) == before


def test_missing_things_are_named(tmp_path, capsys):
    path = study_of(tmp_path)
    with pytest.raises(DataError, match="no row other of d, t"):
        compare_rows(path, tmp_path, ["other"])
    (tmp_path / "d/t/rvq/coded/test/answers.json").unlink()
    options = ["--folder", str(tmp_path), "--references", "rvq"]
    assert main([str(path), *options]) == 1
    assert "found no answers.json" in capsys.readouterr().err
    (tmp_path / "d/t/two/save/test.csv").unlink()
    with pytest.raises(DataError, match="no manifest with all 2"):
        read(tmp_path / "d/t/two")
