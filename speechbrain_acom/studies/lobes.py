"""The study of the quantizers: every lobe on every demonstration task.

For every task a continuous model is trained once; then each lobe is put into
its cut and tuned, with the same recipe, seed and number of epochs. What a lobe
changes is a YAML file of a few lines, which stays in the study's folder. Rows
are added to the results as they come; the same command goes on where an
earlier one ended.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from speechbrain_acom.errors import AcomError, DataError
from speechbrain_acom.studies.lobe_settings import (
    LobeTask,
    chosen,
    read_lobe_settings,
)
from speechbrain_acom.studies.lobe_study import MADE, LobeStudy
from speechbrain_acom.studies.results import Row, read_rows, update_results
from speechbrain_acom.studies.tables import heading, shown

IDENTITY = ("data", "task", "lobe")
INTERRUPTED = 130


@dataclass
class LobeTable:
    """The rows of the study, in a results file.

    Arguments
    ---------
    path : Path
        The file; the rows that are in it are kept.
    command : str
        What makes it.
    seed : int
        Of every training.
    """

    path: Path
    command: str
    seed: int

    def __post_init__(self) -> None:
        # Before hours of training: a path that cannot be written is told now.
        self.rows = read_rows(self.path) if self.path.exists() else []

    def has(self, *identity: str) -> bool:
        """Whether there is a row of this data, task and lobe."""
        return identity in map(_identity, self.rows)

    def add(self, news: Sequence[Row]) -> None:
        """Write the rows of a lobe in the place of earlier ones.

        Arguments
        ---------
        news : Sequence[Row]
            All rows of one data set, task and lobe.
        """
        self.rows = update_results(
            self.path, news, IDENTITY, self.seed, self.command
        )


def _identity(row: Row) -> tuple:
    return tuple(row.get(key) for key in IDENTITY)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study from the command line.

    Arguments
    ---------
    arguments : Sequence[str] | None
        The command line; None: that of the process.

    Returns
    -------
    int
        Exit status: 0, 1 if something failed, 130 if it was interrupted.
    """
    options = _parser().parse_args(arguments)
    try:
        failures = _run(options)
    except (AcomError, OSError) as error:
        failures = [str(error)]
    except KeyboardInterrupt:
        print("\nlobes: interrupted; the same command goes on", file=sys.stderr)
        return INTERRUPTED
    for failure in failures:
        print(f"lobes: {failure}", file=sys.stderr)
    return 1 if failures else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--data", default=MADE, help="a data set of the settings: made, real")
    add("--tasks", nargs="+", metavar="TASK", help="only these")
    add("--lobes", nargs="+", metavar="LOBE", help="only these")
    add("--again", action="store_true", help="also what is finished")
    add(
        "--data_folder",
        type=Path,
        default=Path("demo"),
        help="holds the corpora; machine-made ones are made where missing",
    )
    add("--folder", type=Path, default=Path("studies/lobes"))
    add("--results", type=Path, default=Path("results/lobes.json"))
    add("--recipes", type=Path, default=Path("recipes"))
    add("--settings", type=Path, default=Path("hparams/studies/lobes.yaml"))
    return parser


def _run(options: argparse.Namespace) -> list[str]:
    """Run what is missing; a line for everything that failed."""
    settings = read_lobe_settings(options.settings, options.data)
    tasks = chosen(settings.tasks, options.tasks, "--tasks")
    lobes = chosen(settings.lobes, options.lobes, "--lobes")
    for task in tasks.values():
        _check_recipe(options.recipes / task.recipe)
        if options.data != MADE:
            _check_corpus(options.data_folder / task.corpus)
    table = LobeTable(options.results, settings.command, settings.seed)
    asked = {
        name: [
            lobe for lobe in lobes if task.lobes is None or lobe in task.lobes
        ]
        for name, task in tasks.items()
    }
    wanted = {
        name: [
            lobe
            for lobe in its
            if options.again or not table.has(options.data, name, lobe)
        ]
        for name, its in asked.items()
    }
    total = sum(map(len, wanted.values()))
    finished = sum(map(len, asked.values())) - total
    print(f"{options.data}: {total} to run, {finished} finished before")
    study = LobeStudy(
        options.data,
        settings,
        options.data_folder,
        options.folder,
        options.recipes,
    )
    failures, number = [], 0
    for name, missing in wanted.items():
        for lobe in missing:
            number += 1
            print(f"[{number}/{total}] {name}, {lobe}: ", end="", flush=True)
            if options.again:
                study.forget(tasks[name], lobe)
            problem = _run_one(study, table, tasks[name], lobe)
            if problem:
                failures.append(f"{name}, {lobe}: {problem}")
    return failures


def _check_recipe(folder: Path) -> None:
    if not (folder / "train.py").is_file():
        raise DataError(
            f"{folder}: found no train.py, expected a recipe of the "
            "repository: run this from its root"
        )


def _check_corpus(folder: Path) -> None:
    if not folder.is_dir():
        raise DataError(
            f"{folder}: found no such folder, expected a corpus: see "
            "--data_folder"
        )


def _run_one(
    study: LobeStudy, table: LobeTable, task: LobeTask, lobe: str
) -> str | None:
    """Run a lobe on a task and add its row; what went wrong, if anything."""
    start = time.monotonic()
    try:
        rows = study.rows(task, lobe)
    except Exception as error:  # of any kind: the other lobes go on
        print("failed", flush=True)
        return f"{type(error).__name__}: {error}"
    table.add(rows)
    row = rows[-1]
    coded = ", ".join(
        f"{heading(key)} {shown(row.get(key))}"
        for key in (row["metric"], "message_bps", "step_time_ratio")
    )
    minutes = (time.monotonic() - start) / 60
    print(f"{coded}; {minutes:.1f} minutes", flush=True)
    return None


if __name__ == "__main__":
    sys.exit(main())
