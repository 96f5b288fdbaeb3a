"""Tables in Markdown files, generated from results files.

A table stands between two comments; the first says what it shows::

    <!-- table results/a.json results/b.json: model, wer_percent -->
    <!-- end -->

A column with a value after the files keeps the rows that have it only::

    <!-- table results/a.json model=conformer beta=0.2: wer_percent -->
    <!-- end -->

``python -m speechbrain_acom.studies.tables README.md`` fills it in. Paths are
relative to the folder that the command runs in.
"""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from speechbrain_acom.errors import AcomError, DataError
from speechbrain_acom.studies.results import Row, read_rows

_TABLE = re.compile(
    r"(?P<start><!-- table (?P<files>[^:\n]+): (?P<columns>[^>\n]+) -->\n)"
    r"(?P<body>.*?)"
    r"(?P<end><!-- end -->|(?=<!-- table )|\Z)",
    re.DOTALL,
)


def fill_tables(text: str, folder: Path = Path(".")) -> str:
    """Replace every table of a Markdown text by a fresh one.

    Arguments
    ---------
    text : str
        The Markdown text.
    folder : Path
        Where the paths in the comments start.

    Returns
    -------
    str
        The same text with the tables filled in.

    Raises
    ------
    DataError
        If a results file is missing, no row is left, a column is in no row,
        or a table has no end.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> _ = (folder / "a.json").write_text('{"rows": [{"x": 1, "y_bps": 2.5}]}')
    >>> print(fill_tables("<!-- table a.json: y_bps -->\\n<!-- end -->", folder))
    <!-- table a.json: y_bps -->
    | y (bit/s) |
    |---|
    | 2.5 |
    <!-- end -->
    """

    def fill(match: re.Match) -> str:
        if not match["end"]:
            raise DataError(
                f"table of {match['files']}: found no end, expected the line "
                "<!-- end --> after it"
            )
        rows = _selected_rows(match["files"].split(), folder)
        columns = [name.strip() for name in match["columns"].split(",")]
        table = markdown_table(rows, columns)
        return f"{match['start']}{table}{match['end']}"

    return _TABLE.sub(fill, text)


def _selected_rows(words: Sequence[str], folder: Path) -> list[Row]:
    """Rows of the files among the words that fit the conditions among them."""
    conditions = [word.split("=", 1) for word in words if "=" in word]
    rows: list[Row] = []
    for name in words:
        if "=" not in name:
            rows += read_rows(folder / name)
    kept = [
        row
        for row in rows
        if all(str(row.get(key)) == value for key, value in conditions)
    ]
    if rows and not kept:
        raise DataError(
            f"table of {' '.join(words)}: found no such row, expected one of "
            f"the {len(rows)} to fit"
        )
    return kept


def markdown_table(rows: Sequence[Row], columns: Sequence[str]) -> str:
    """One Markdown table; a row that lacks a column shows a dash.

    Arguments
    ---------
    rows : Sequence[Row]
        Flat rows of results files.
    columns : Sequence[str]
        Keys to show, in order.

    Returns
    -------
    str
        Lines, each with its end of line.

    Raises
    ------
    DataError
        If no row has one of the columns.
    """
    for column in columns:
        if not any(column in row for row in rows):
            known = ", ".join(rows[0]) if rows else "nothing"
            raise DataError(f"column {column}: found none, expected: {known}")
    lines = [[heading(column) for column in columns], ["---"] * len(columns)]
    lines += [[shown(row.get(column)) for column in columns] for row in rows]
    first, rule, *rest = lines
    text = [f"| {' | '.join(first)} |", f"|{'|'.join(rule)}|"]
    text += [f"| {' | '.join(cells)} |" for cells in rest]
    return "".join(f"{line}\n" for line in text)


_UNITS = {
    "_bps": " (bit/s)",
    "_percent": " (%)",
    "_gmac_per_s": " (GMAC/s)",
    "_s": " (s)",
}


def heading(column: str) -> str:
    """A key of a row as a person would write it.

    Arguments
    ---------
    column : str
        The key, its unit at the end.

    Returns
    -------
    str
        Words, the unit in brackets.

    Example
    -------
    >>> heading("device_gmac_per_s")
    'device (GMAC/s)'
    """
    for suffix, unit in _UNITS.items():
        if column.endswith(suffix):
            return column.removesuffix(suffix).replace("_", " ") + unit
    return column.replace("_", " ")


def shown(value: object) -> str:
    """A value of a row with as many digits as are worth reading.

    Arguments
    ---------
    value : object
        The value; None: there is none.

    Returns
    -------
    str
        The text of the cell.

    Example
    -------
    >>> shown(199.693), shown(0.0155928), shown(None)
    ('199.7', '0.0156', '–')
    """
    if value is None:
        return "–"
    if not isinstance(value, float):
        return str(value)
    return f"{value:.3g}" if abs(value) < 10 else f"{value:.1f}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Fill the tables of Markdown files in place.

    Arguments
    ---------
    arguments : Sequence[str] | None
        Paths of the files; None: those of the process.

    Returns
    -------
    int
        Exit status: 0, or 1 if a table cannot be filled.
    """
    parser = argparse.ArgumentParser(description=main.__doc__.split("\n")[0])
    parser.add_argument("files", nargs="+", type=Path)
    for path in parser.parse_args(arguments).files:
        try:
            text = path.read_text(encoding="utf-8")
            path.write_text(fill_tables(text), encoding="utf-8")
        except (AcomError, OSError) as error:
            # An operating system's own words name the path again.
            why = getattr(error, "strerror", None) or error
            print(f"tables: {path}: {why}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
