"""Markdown tables that are generated from results files."""

import json

import pytest

from speechbrain_acom.errors import DataError
from speechbrain_acom.studies.tables import (
    fill_tables,
    heading,
    main,
    markdown_table,
    shown,
)

TEXT = """\
# Title

<!-- table a.json b.json: model, wer_percent -->
something old
<!-- end -->

Between: a | b.

<!-- table b.json: message_bps, model -->
<!-- end -->
The end.
"""
FILLED = """\
# Title

<!-- table a.json b.json: model, wer_percent -->
| model | wer (%) |
|---|---|
| one | 12.5 |
| two | – |
<!-- end -->

Between: a | b.

<!-- table b.json: message_bps, model -->
| message (bit/s) | model |
|---|---|
| 9.99 | two |
<!-- end -->
The end.
"""


@pytest.fixture
def folder(tmp_path):
    one = {"model": "one", "wer_percent": 12.5}
    two = {"model": "two", "message_bps": 9.9876}
    for name, row in (("a", one), ("b", two)):
        (tmp_path / f"{name}.json").write_text(json.dumps({"rows": [row]}))
    return tmp_path


def test_tables_are_filled_and_the_text_stays(folder):
    assert fill_tables(TEXT, folder) == FILLED


def test_filling_twice_changes_nothing(folder):
    assert fill_tables(FILLED, folder) == FILLED


def test_text_without_tables_stays():
    text = "# Title\n\n<!-- a comment -->\n<!-- end -->\n"
    assert fill_tables(text) == text


def test_table_without_an_end_swallows_nothing(folder):
    text = TEXT.replace("<!-- end -->\n\nBetween", "\nBetween")
    with pytest.raises(DataError, match="a.json b.json: found no end"):
        fill_tables(text, folder)
    last = TEXT.replace("<!-- end -->\nThe end", "The end")
    with pytest.raises(DataError, match="table of b.json: found no end"):
        fill_tables(last, folder)


def test_rows_of_a_table_are_chosen_by_their_columns(folder):
    rows = [
        {"task": task, "beta": beta, "wer_percent": wer}
        for task, beta, wer in [("a", 0.2, 1), ("b", 0.2, 2), ("b", 1, 3)]
    ]
    (folder / "c.json").write_text(json.dumps({"rows": rows}))
    text = "<!-- table {}: wer_percent -->\n<!-- end -->"
    for words, values in (
        ("c.json task=b", "| 2 |\n| 3 |\n"),
        ("c.json beta=0.2 task=b", "| 2 |\n"),
        ("c.json a.json model=one", "| 12.5 |\n"),
    ):
        filled = fill_tables(text.format(words), folder)
        assert f"|---|\n{values}<!-- end -->" in filled
        assert fill_tables(filled, folder) == filled
    with pytest.raises(DataError, match="c.json task=z: found no such row, "):
        fill_tables(text.format("c.json task=z"), folder)


def test_missing_file_is_named(folder):
    (folder / "b.json").unlink()
    with pytest.raises(DataError, match="b.json: found nothing to read"):
        fill_tables(TEXT, folder)


def test_missing_page_is_named(folder, capsys):
    assert main([str(folder / "no.md")]) == 1
    told = f"tables: {folder}/no.md: No such file or directory\n"
    assert capsys.readouterr().err == told


def test_column_that_no_row_has_is_named():
    rows = [{"model": "one"}, {"model": "two", "x": 1}]
    assert "| – |\n| 1 |" in markdown_table(rows, ["x"])
    with pytest.raises(DataError, match="column y: found none.*: model"):
        markdown_table(rows, ["model", "y"])
    with pytest.raises(DataError, match="column y: found none"):
        markdown_table([], ["y"])


@pytest.mark.parametrize(
    ("column", "words"),
    [
        ("message_bps", "message (bit/s)"),
        ("wer_percent", "wer (%)"),
        ("total_gmac_per_s", "total (GMAC/s)"),
        ("audio_s", "audio (s)"),
        ("random_codes", "random codes"),
    ],
)
def test_unit_of_a_key_stands_in_brackets(column, words):
    assert heading(column) == words


@pytest.mark.parametrize(
    ("value", "text"),
    [(3, "3"), (0.0, "0"), (-2.345, "-2.35"), (1234.56, "1234.6"), ("a", "a")],
)
def test_values_have_as_many_digits_as_are_worth_reading(value, text):
    assert shown(value) == text


def test_command_fills_files_in_place(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    (folder / "README.md").write_text(TEXT)
    assert main(["README.md"]) == 0
    assert (folder / "README.md").read_text() == FILLED
    assert main(["README.md", "absent.md"]) == 1
    assert "tables: absent.md: " in capsys.readouterr().err


def test_command_leaves_a_file_that_it_cannot_fill(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    (folder / "a.json").unlink()
    (folder / "README.md").write_text(TEXT)
    assert main(["README.md"]) == 1
    assert (folder / "README.md").read_text() == TEXT
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("tables: README.md: a.json: found nothing to read")


def test_command_without_files_is_a_mistake():
    with pytest.raises(SystemExit) as caught:
        main([])
    assert caught.value.code == 2
