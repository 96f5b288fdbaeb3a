"""Figures in JSON files: complete, rounded, of no machine."""

import json
import os
import re
import sys

import pytest

from speechbrain_acom.errors import DataError
from speechbrain_acom.studies import results
from speechbrain_acom.studies.results import (
    command_line,
    read_rows,
    write_results,
)

ROW = {
    "model": "conformer",
    "message_bps": 199.693412,
    "device_gmac_per_s": 0.0155928349,
    "messages": 123456789,
    "wer_percent": 100 / 3,
    "none": None,
}


def strict(path):
    """Content of a JSON file that holds no NaN, as the standard asks."""

    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(path.read_text(), parse_constant=refuse)


def test_file_says_how_to_make_it_again(tmp_path):
    path = tmp_path / "new" / "folder" / "results.json"
    written = write_results(path, [ROW], "a set: 1 h", 7, "make demo")
    assert written == path
    content = strict(path)
    assert list(content) == [
        "command",
        "commit",
        "date",
        "hardware",
        "data",
        "seed",
        "rows",
    ]
    assert content["command"] == "make demo"
    assert content["data"] == "a set: 1 h" and content["seed"] == 7
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", content["date"])
    assert "torch" in content["hardware"]


@pytest.mark.parametrize(
    "told, name",
    [
        ("processor\t: 0\nmodel name\t: Model T: 5\n", "Model T: 5, ford"),
        ("processor\t: 0\nmodel name\t:\n", "ford"),
        (None, "ford"),
    ],
)
def test_hardware_names_the_processor(tmp_path, monkeypatch, told, name):
    if told is not None:
        (tmp_path / "cpuinfo").write_text(told)
    monkeypatch.setattr(results, "CPU_INFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(results.platform, "machine", lambda: "ford")
    monkeypatch.setattr(results.torch.cuda, "is_available", lambda: False)
    content = strict(write_results(tmp_path / "a.json", [ROW], "", 0))
    assert f" CPU cores ({name}), torch " in content["hardware"]


def test_figures_are_rounded_to_five_digits(tmp_path):
    path = write_results(tmp_path / "a.json", [ROW], "", 0)
    [row] = read_rows(path)
    assert row == {
        "model": "conformer",
        "message_bps": 199.69,
        "device_gmac_per_s": 0.015593,
        "messages": 123456789,
        "wer_percent": 33.333,
        "none": None,
    }


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_figure_that_is_no_number_is_null(tmp_path, value):
    path = write_results(tmp_path / "a.json", [{"wer_percent": value}], "", 0)
    assert strict(path)["rows"] == [{"wer_percent": None}]


def test_running_command_is_told_without_folders(tmp_path, monkeypatch):
    arguments = [
        str(tmp_path / "recipes" / "train.py"),
        "hparams/mini.yaml",
        f"--data_folder={tmp_path}/My Corpus",
        "--seed=3",
        str(tmp_path / "more.yaml"),
    ]
    monkeypatch.setattr(sys, "argv", arguments)
    path = write_results(tmp_path / "a.json", [ROW], "", 0)
    assert str(tmp_path) not in path.read_text()
    assert strict(path)["command"] == (
        "python train.py hparams/mini.yaml '--data_folder=.../My Corpus' "
        "--seed=3 more.yaml"
    )


def test_value_with_an_equals_sign_stays():
    shown = command_line(["a.py", "--x={a: 1}", "--y=b=c"])
    assert shown == "python a.py '--x={a: 1}' --y=b=c"


def test_commit_is_that_of_the_package(tmp_path, monkeypatch):
    here = strict(write_results(tmp_path / "a.json", [], "", 0))["commit"]
    monkeypatch.chdir(tmp_path)
    elsewhere = strict(write_results(tmp_path / "b.json", [], "", 0))["commit"]
    assert here == elsewhere
    assert re.fullmatch(r"[0-9a-f]{7,40}(-dirty)?|unknown", here)


def test_commit_is_unknown_without_git(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", os.fspath(tmp_path))
    path = write_results(tmp_path / "a.json", [], "", 0)
    assert strict(path)["commit"] == "unknown"


@pytest.mark.parametrize(
    "content", ["", "[1", "[]", "{}", '{"rows": 5}', '{"rows": [5]}']
)
def test_file_without_rows_is_named(tmp_path, content):
    path = tmp_path / "a.json"
    path.write_text(content)
    with pytest.raises(DataError) as caught:
        read_rows(path)
    expected = "found no list of rows, expected a results file"
    assert str(caught.value) == f"{path}: {expected}"


def test_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match="none.json: found nothing to read"):
        read_rows(tmp_path / "none.json")
