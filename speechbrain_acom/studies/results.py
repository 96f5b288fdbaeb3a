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
        "commit": _commit(),
        "date": date.today().isoformat(),
        "hardware": _hardware(),
        "data": data,
        "seed": seed,
        "rows": [_rounded(row) for row in rows],
    }
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Whole at every moment: rows of hours may stand in it.
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
    """Of this package, whatever repository the command runs in."""
    git = ["git", "rev-parse", "--short", "HEAD"]
    package = Path(__file__).parent
    try:
        done = subprocess.run(
            git, cwd=package, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()


def _hardware() -> str:
    if torch.cuda.is_available():
        return f"{torch.cuda.get_device_name()}, torch {torch.__version__}"
    cores = len(os.sched_getaffinity(0))
    return (
        f"{cores} CPU cores ({platform.machine()}), torch {torch.__version__}"
    )
