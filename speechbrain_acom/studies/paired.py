"""Every run of a study beside some of them, utterance by utterance.

Two runs are answers to the same test set: what is hard for both says nothing
about either, and what is left of a difference has an interval. Adds columns to
the rows of a results file that :mod:`speechbrain_acom.studies.lobes` wrote.
"""

import argparse
import csv
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from speechbrain.utils.metric_stats import ErrorRateStats

from speechbrain_acom.errors import DataError
from speechbrain_acom.metrics.bootstrap import ratio_interval
from speechbrain_acom.studies.command import exit_status
from speechbrain_acom.studies.results import Row, read_rows, rewrite_rows
from speechbrain_acom.studies.utterances import GROUP


@dataclass(frozen=True)
class AnsweredSet:
    """What a second process answered to the messages of a test set.

    Arguments
    ---------
    names : list[str]
        Of the utterances, in order.
    groups : list[str]
        What must be drawn together.
    errors : np.ndarray
        Wrong words or characters, or 1 for a wrong label, shape (utterance,).
    units : np.ndarray
        Words or characters, or 1, shape (utterance,).
    message_bytes : np.ndarray
        Sizes of the messages, shape (utterance,).
    """

    names: list[str]
    groups: list[str]
    errors: np.ndarray
    units: np.ndarray
    message_bytes: np.ndarray

    @classmethod
    def read(
        cls,
        coded: str | Path,
        manifests: str | Path,
        characters: bool = False,
    ) -> "AnsweredSet":
        """Read what a coded test left.

        Arguments
        ---------
        coded : str | Path
            Its folder, which holds ``answers.json`` and ``messages``.
        manifests : str | Path
            Folder of the run's manifests, one of which is the test set's.
        characters : bool
            Count characters of transcripts instead of words.

        Returns
        -------
        AnsweredSet
            All utterances that were coded.

        Raises
        ------
        DataError
            If files are missing or no manifest has the utterances.
        """
        coded = Path(coded)
        try:
            text = (coded / "answers.json").read_text(encoding="utf-8")
        except OSError as error:
            raise DataError(
                f"{coded}: found no answers.json ({error.strerror}), expected "
                "what a coded test leaves: run the study again"
            ) from None
        messages = {
            path.stem: path for path in (coded / "messages/real").iterdir()
        }
        answers = {
            Path(answer["message"]).stem: answer["answer"]
            for answer in json.loads(text)
            if Path(answer["message"]).parent.name == "real"
        }
        names = sorted(messages)
        rows = _manifest_rows(Path(manifests), names)
        counted = [_errors(row, answers[row["ID"]], characters) for row in rows]
        return cls(
            names,
            [row.get(GROUP, row["ID"]) for row in rows],
            np.array([errors for errors, _ in counted], dtype=np.float64),
            np.array([units for _, units in counted], dtype=np.float64),
            np.array([messages[name].stat().st_size for name in names]),
        )


def compared(run: AnsweredSet, reference: AnsweredSet) -> Row:
    """Columns that say how a run differs from a reference.

    Arguments
    ---------
    run : AnsweredSet
        The run.
    reference : AnsweredSet
        Another one, of the same test set.

    Returns
    -------
    Row
        Bytes over those of the reference, and points of errors more than it
        has, each with the ends of a 95 % interval.

    Raises
    ------
    DataError
        If the utterances are not the same.
    """
    if run.names != reference.names:
        raise DataError(
            f"paired: found {len(run.names)} and {len(reference.names)} "
            "utterances or other ones, expected the same test set"
        )
    size = ratio_interval(
        run.message_bytes, reference.message_bytes, run.groups
    )
    more = ratio_interval(
        100.0 * (run.errors - reference.errors), run.units, run.groups
    )
    return {
        "bytes_ratio": size.value,
        "bytes_ratio_low": size.low,
        "bytes_ratio_high": size.high,
        "more_errors_points": more.value,
        "more_errors_points_low": more.low,
        "more_errors_points_high": more.high,
    }


def _manifest_rows(folder: Path, names: Sequence[str]) -> list[dict]:
    """Rows of the manifest that has all of the utterances."""
    for path in sorted(folder.glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            rows = {row["ID"]: row for row in csv.DictReader(file)}
        if all(name in rows for name in names):
            return [rows[name] for name in names]
    raise DataError(
        f"{folder}: found no manifest with all {len(names)} utterances, "
        "expected that of the test set: run the study again"
    )


def _errors(row: dict, answer: str, characters: bool) -> tuple[int, int]:
    """Wrong units of an answer, and how many there were to get right."""
    if "wrd" not in row:
        return int(answer != row["class_name"]), 1
    stats = ErrorRateStats(split_tokens=characters)
    stats.append(["0"], [answer.split()], [row["wrd"].split()])
    [score] = stats.scores
    return score["num_edits"], score["num_ref_tokens"]


def _place(study: Path, row: Row) -> tuple[Path, Path]:
    """Folders of a row's coded test and of its run's manifests."""
    run = study.joinpath(*(str(row[key]) for key in ("data", "task", "lobe")))
    test = str(row["test_set"])
    first = run / "coded" / f"{test}_first_{row['num_codebooks']}"
    coded = first if first.is_dir() else run / "coded" / test
    return coded, run / "save"


def _reference(rows: Sequence[Row], row: Row, name: str) -> Row | None:
    """The row of the same test set to compare a row with, of all codebooks."""
    same = ("data", "task", "test_set")
    found = [
        other
        for other in rows
        if other["lobe"] == name
        and all(other.get(key) == row.get(key) for key in same)
    ]
    return max(found, key=lambda one: int(one["num_codebooks"]), default=None)


def compare_rows(path: Path, study: Path, references: Sequence[str]) -> int:
    """Add the columns of :func:`compared` to a results file.

    Arguments
    ---------
    path : Path
        The results file.
    study : Path
        Folder of the study that wrote it, with its runs.
    references : Sequence[str]
        Names of the runs that all others of the task are compared with. The
        columns of the first one are those of :func:`compared`; those of the
        others end with ``_from_`` and the name.

    Returns
    -------
    int
        How many rows have new ones. Rows that have some, and whose run is no
        longer there, keep theirs.

    Raises
    ------
    DataError
        If files are missing, or a reference is.
    """
    rows = read_rows(path)
    count = 0
    for row in rows:
        if row.get("message_bps") is None:
            continue
        here = _place(study, row)
        if "bytes_ratio" in row and not here[0].is_dir():
            continue  # compared before, where its run was
        characters = row.get("metric") == "cer_percent"
        run = AnsweredSet.read(*here, characters)
        for reference in references:
            base = _reference(rows, row, reference)
            if base is None:
                raise DataError(
                    f"{path}: found no row {reference} of {row['data']}, "
                    f"{row['task']}, expected one to compare with"
                )
            other = AnsweredSet.read(*_place(study, base), characters)
            end = "" if reference == references[0] else f"_from_{reference}"
            row.update(
                {f"{key}{end}": it for key, it in compared(run, other).items()}
            )
        count += 1
    rewrite_rows(path, rows)
    return count


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare from the command line.

    Arguments
    ---------
    arguments : Sequence[str] | None
        The command line; None: that of the process.

    Returns
    -------
    int
        Exit status.
    """
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("results", type=Path)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--references", nargs="+", required=True)
    options = parser.parse_args(arguments)
    return exit_status("paired", partial(_run, options))


def _run(options: argparse.Namespace) -> None:
    count = compare_rows(options.results, options.folder, options.references)
    names = " and ".join(options.references)
    print(f"{options.results}: {count} rows compared with {names}")


if __name__ == "__main__":
    sys.exit(main())
