"""Figures as JSON files: one flat row a point, the unit in every key."""

import json
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
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return path


def read_rows(path: str | Path) -> list[Row]:
    """Rows of a results file.

    Raises
    ------
    DataError
        If the file is missing or not a results file.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        return content["rows"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = type(error).__name__
        raise DataError(
            f"{path}: expected a results file with rows, found {reason}"
        ) from None


def command_line(arguments: Sequence[str]) -> str:
    """The running command, without folders of one machine.

    Example
    -------
    >>> command_line(["/home/me/train.py", "--data_folder=/data/Set", "a.yaml"])
    'python train.py --data_folder=.../Set a.yaml'
    """
    shown = []
    for argument in arguments:
        key, equals, value = argument.rpartition("=")
        if os.path.isabs(value):
            value = value if not equals else f".../{Path(value).name}"
            value = Path(value).name if not equals else value
        shown.append(f"{key}{equals}{value}")
    return "python " + shlex.join(shown)


def _rounded(row: Row) -> Row:
    """Five digits say all that these figures can."""
    return {
        key: float(f"{value:.5g}") if isinstance(value, float) else value
        for key, value in row.items()
    }


def _commit() -> str:
    git = ["git", "rev-parse", "--short", "HEAD"]
    try:
        done = subprocess.run(git, capture_output=True, text=True, check=True)
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
