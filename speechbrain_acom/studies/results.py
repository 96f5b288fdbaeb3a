"""Figures as JSON files: one flat row a point, the unit in every key."""

import json
import math
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import torch

from speechbrain_acom.errors import DataError

Row = dict[str, str | int | float | None]

PACKAGE = Path(__file__).parents[1]
# Where Linux describes its processors.
CPU_INFO = Path("/proc/cpuinfo")


def write_results(
    path: str | Path,
    rows: Sequence[Row],
    data: str,
    seed: int,
    command: str | None = None,
) -> Path:
    """Write rows with what is needed to make them again.

    Arguments
    ---------
    path : str | Path
        The JSON file; its folder is made.
    rows : Sequence[Row]
        One flat row a point; units stand in the keys (``message_bps``).
    data : str
        Which data set, which split, how many hours.
    seed : int
        Seed of the run.
    command : str | None
        The command that gives these rows; None: the running one.

    Returns
    -------
    Path
        The file.

    Example
    -------
    >>> path = getfixture("tmp_path") / "results.json"
    >>> _ = write_results(path, [{"message_bps": 199.6934}], "a set", 0)
    >>> read_rows(path)
    [{'message_bps': 199.69}]
    """
    content = {
        "command": command or command_line(sys.argv),
        **_origin(),
        "data": data,
        "seed": seed,
        "rows": [_rounded(row) for row in rows],
    }
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    return _write(path, content)


def rewrite_rows(path: str | Path, rows: Sequence[Row]) -> Path:
    """Replace the rows of a results file and nothing else.

    Arguments
    ---------
    path : str | Path
        The JSON file.
    rows : Sequence[Row]
        What stands there from now on.

    Returns
    -------
    Path
        The file.

    Example
    -------
    >>> path = getfixture("tmp_path") / "results.json"
    >>> _ = write_results(path, [{"wer_percent": 5.0}], "a set", 0, "make it")
    >>> path = rewrite_rows(path, [{"wer_percent": 5.0, "bytes_ratio": 0.5}])
    >>> read_rows(path), json.loads(path.read_text())["command"]
    ([{'wer_percent': 5.0, 'bytes_ratio': 0.5}], 'make it')
    """
    path = Path(path)
    content = json.loads(path.read_text(encoding="utf-8"))
    return _write(path, {**content, "rows": [_rounded(row) for row in rows]})


def update_results(
    path: str | Path,
    news: Sequence[Row],
    keys: Sequence[str],
    seed: int,
    command: str | None = None,
) -> list[Row]:
    """Write rows in the place of earlier ones that have the same keys.

    Arguments
    ---------
    path : str | Path
        The JSON file, which may have rows already.
    news : Sequence[Row]
        New rows, all with the same values of ``keys``. Each has a column
        ``recordings``, which says its data set, split and hours.
    keys : Sequence[str]
        Columns that tell what is new from what stays.
    seed, command
        As for :func:`write_results`.

    Returns
    -------
    list[Row]
        All rows of the file from now on. New ones say their own commit, date
        and hardware, unless they do already: others may be older.

    Raises
    ------
    DataError
        If there is a file that is no results file.

    Example
    -------
    >>> path = getfixture("tmp_path") / "results.json"
    >>> for name, wer in ("a", 5.0), ("b", 6.0), ("a", 4.0):
    ...     row = {"task": name, "wer_percent": wer, "recordings": "a set"}
    ...     rows = update_results(path, [row], ["task"], 0)
    >>> [(row["task"], row["wer_percent"]) for row in read_rows(path)]
    [('a', 4.0), ('b', 6.0)]
    """
    rows = read_rows(path) if Path(path).exists() else []
    identities = [tuple(row.get(key) for key in keys) for row in rows]
    new = tuple(news[0].get(key) for key in keys)
    place = (*identities, new).index(new)
    kept = [
        row
        for row, identity in zip(rows, identities, strict=True)
        if identity != new
    ]
    origin = _origin()
    told = [{**row, **origin, **row} for row in news]
    rows = [*kept[:place], *told, *kept[place:]]
    data = "; ".join(dict.fromkeys(str(row["recordings"]) for row in rows))
    write_results(path, rows, data, seed, command)
    return rows


def _origin() -> Row:
    return {
        "commit": _commit(),
        "date": date.today().isoformat(),
        "hardware": _hardware(),
    }


def _write(path: Path, content: dict) -> Path:
    """Whole at every moment: rows of hours may stand in it."""
    unfinished = path.with_suffix(".unfinished")
    text = json.dumps(content, indent=1) + "\n"
    unfinished.write_text(text, encoding="utf-8")
    return unfinished.replace(path)


def read_rows(path: str | Path) -> list[Row]:
    """Rows of a results file.

    Arguments
    ---------
    path : str | Path
        The JSON file.

    Returns
    -------
    list[Row]
        Its flat rows.

    Raises
    ------
    DataError
        If the file is missing or not a results file.
    """
    try:
        rows = json.loads(Path(path).read_text(encoding="utf-8"))["rows"]
    except OSError as error:
        raise DataError(
            f"{path}: found nothing to read ({error.strerror}), expected a "
            "results file: run the command that makes it"
        ) from None
    except (ValueError, KeyError, TypeError):
        rows = None
    flat = isinstance(rows, list) and all(isinstance(row, dict) for row in rows)
    if not flat:
        raise DataError(
            f"{path}: found no list of rows, expected a results file"
        )
    return rows


def command_line(arguments: Sequence[str]) -> str:
    """The running command, without folders of one machine.

    Arguments
    ---------
    arguments : Sequence[str]
        As in ``sys.argv``.

    Returns
    -------
    str
        One line for a shell; of absolute paths the last part is left.

    Example
    -------
    >>> command_line(["/home/me/train.py", "--data_folder=/data/Set", "a.yaml"])
    'python train.py --data_folder=.../Set a.yaml'
    """
    shown = []
    for argument in arguments:
        key, equals, value = argument.rpartition("=")
        if os.path.isabs(value):
            name = Path(value).name
            value = f".../{name}" if equals else name
        shown.append(f"{key}{equals}{value}")
    return "python " + shlex.join(shown)


def _rounded(row: Row) -> Row:
    return {key: _rounded_value(value) for key, value in row.items()}


def _rounded_value(value: object) -> object:
    """Five digits say all that these figures can; JSON knows no NaN."""
    if not isinstance(value, float):
        return value
    return float(f"{value:.5g}") if math.isfinite(value) else None


def _commit() -> str:
    """Of this package, and whether its sources have changed since."""
    try:
        commit = _git("rev-parse", "--short", "HEAD")
        changed = _git("status", "--porcelain", "--", PACKAGE)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{commit}-dirty" if changed else commit


def _git(*arguments: str | Path) -> str:
    """What git says in the repository of this package."""
    done = subprocess.run(
        ["git", *arguments],
        cwd=PACKAGE,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def _hardware() -> str:
    if torch.cuda.is_available():
        return f"{torch.cuda.get_device_name()}, torch {torch.__version__}"
    cores = len(os.sched_getaffinity(0))
    return f"{cores} CPU cores ({_processor()}), torch {torch.__version__}"


def _processor() -> str:
    """Name of the processor, where the system tells it; else of its kind."""
    try:
        lines = CPU_INFO.read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() == "model name" and value.strip():
            return f"{value.strip()}, {platform.machine()}"
    return platform.machine()
