"""Every speaker is the unseen one once, with several seeds, and all is pooled.

One split of few speakers cannot rank settings: whoever is left out decides. So
each speaker of a corpus is left out once, the next one chooses checkpoints, the
others train; with every seed. Errors, words and bytes are added up over all of
these runs before anything is divided. What was counted of every utterance is
kept beside the results, so that runs may be added one by one, on any machine.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from speechbrain_acom.errors import ConfigurationError
from speechbrain_acom.hparams import read_tree
from speechbrain_acom.studies.command import exit_status
from speechbrain_acom.studies.lobe_settings import (
    LobeSettings,
    LobeTask,
    chosen,
)
from speechbrain_acom.studies.lobe_study import LobeStudy, origin
from speechbrain_acom.studies.pooled import pooled_row
from speechbrain_acom.studies.results import (
    Row,
    read_rows,
    update_results,
    write_results,
)
from speechbrain_acom.studies.speakers import Unit, link_speakers, units
from speechbrain_acom.studies.utterances import Utterances

IDENTITY = ("point", "test_speaker", "seed")
CONTINUOUS = "continuous"


@dataclass(frozen=True)
class Rotation:
    """Where the study reads and writes.

    Arguments
    ---------
    settings : LobeSettings
        One task, and points by name; the seed is that of a unit.
    data_folder : Path
        Holds the corpus.
    folder : Path
        Trainings.
    results : Path
        Rows of all runs; what was counted of every utterance lies beside it,
        in a folder of its name.
    recipes : Path
        The recipes of this repository.
    """

    settings: LobeSettings
    data_folder: Path
    folder: Path
    results: Path
    recipes: Path

    def run(self, unit: Unit, point: str) -> None:
        """Train a point of a unit, unless its row is there.

        Arguments
        ---------
        unit : Unit
            Speakers and seed.
        point : str
            Name of the point.

        Raises
        ------
        DataError
            If a recipe fails.
        """
        corpus = self.folder / "speakers"
        [task] = self.settings.tasks.values()
        link_speakers(self.data_folder / task.corpus, corpus)
        splits = {
            "train_splits": list(unit.train),
            "dev_splits": [unit.dev],
            "test_splits": [unit.test],
        }
        task = replace(task, corpus=corpus.name, keys={**task.keys, **splits})
        study = LobeStudy(
            unit.name,
            replace(self.settings, seed=unit.seed),
            self.folder,
            self.folder,
            self.recipes,
            timed=False,
        )
        row = study.rows(task, point)[-1]
        place = self.folder / unit.name / task.name
        self._keep(unit, point, row, place / point / "coded")
        if not self.has(unit, CONTINUOUS):
            start = place / CONTINUOUS
            file = start / "results.json"
            first = {**read_rows(file)[0], **origin(file)}
            self._keep(unit, CONTINUOUS, first, start / "utterances")

    def has(self, unit: Unit, point: str) -> bool:
        """Whether a run's row is there."""
        if not self.results.is_file():
            return False
        wanted = (point, unit.test, unit.seed)
        return wanted in [
            tuple(row[key] for key in IDENTITY)
            for row in read_rows(self.results)
        ]

    def write_pooled(self, path: Path) -> None:
        """Write the pooled row of every point that has runs.

        Arguments
        ---------
        path : Path
            The results file.
        """
        [task] = self.settings.tasks.values()
        write_results(
            path,
            self.pooled([CONTINUOUS, *self.settings.lobes]),
            f"{task.corpus}: each speaker left out once",
            self.settings.seed,
            self.settings.command,
        )

    def _keep(self, unit: Unit, point: str, row: Row, place: Path) -> None:
        """Add a run's row, and what was counted of its utterances."""
        source = place / unit.test
        if point != CONTINUOUS:
            source = source / "utterances"
        Utterances.read(source).save(self._utterances(unit, point))
        identity = zip(IDENTITY, (point, unit.test, unit.seed), strict=True)
        update_results(
            self.results,
            [{**dict(identity), **row}],
            IDENTITY,
            unit.seed,
            self.settings.command,
        )

    def _utterances(self, unit: Unit, point: str) -> Path:
        return self.results.with_suffix("") / f"{point}_{unit.name}"

    def pooled(self, points: Sequence[str]) -> list[Row]:
        """A row for every point, over all runs of it that are there.

        Arguments
        ---------
        points : Sequence[str]
            Names, in the order of the rows.

        Returns
        -------
        list[Row]
            Error rates, rates and their 95 % intervals.
        """
        rows = read_rows(self.results)
        found = []
        for point in points:
            runs = [row for row in rows if row["point"] == point]
            if runs:
                folder = self.results.with_suffix("")
                parts = [
                    Utterances.read(
                        folder / f"{point}_{row['test_speaker']}_{row['seed']}"
                    )
                    for row in runs
                ]
                found.append(pooled_row(point, runs, parts))
        return found


def read_rotation(path: Path) -> tuple[LobeSettings, list[int]]:
    """Read the study's YAML file.

    Arguments
    ---------
    path : Path
        ``hparams/studies/digits.yaml`` says what stands in it.

    Returns
    -------
    tuple[LobeSettings, list[int]]
        One task and its points; the seeds.

    Raises
    ------
    ConfigurationError
        If a key is missing or unknown.
    """
    tree = read_tree(path)
    try:
        task = LobeTask(**tree["task"])
        seeds = list(tree["seeds"])
        points: Mapping[str, Any] = tree["points"]
        command = tree["command"]
    except (KeyError, TypeError) as error:
        raise ConfigurationError(
            str(path), str(error), "the keys that its comments name"
        ) from None
    settings = LobeSettings(command, seeds[0], {task.name: task}, points)
    return settings, seeds


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study from the command line.

    Arguments
    ---------
    arguments : Sequence[str] | None
        The command line; None: that of the process.

    Returns
    -------
    int
        Exit status: 0, or 1 if something failed.
    """
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--settings", type=Path, default=Path("hparams/studies/digits.yaml"))
    add("--data_folder", type=Path, required=True, help="holds the corpus")
    add("--folder", type=Path, default=Path("studies/digits"))
    add("--results", type=Path, default=Path("results/digits.json"))
    add("--recipes", type=Path, default=Path("recipes"))
    add("--points", nargs="+", help="only these")
    add("--speakers", nargs="+", help="only with these left out")
    add("--seeds", nargs="+", type=int, help="only these")
    options = parser.parse_args(arguments)
    return exit_status("rotation", partial(_run, options))


def _run(options: argparse.Namespace) -> None:
    settings, seeds = read_rotation(options.settings)
    runs = options.results.with_stem(f"{options.results.stem}_runs")
    rotation = Rotation(
        settings, options.data_folder, options.folder, runs, options.recipes
    )
    [task] = settings.tasks.values()
    speakers = link_speakers(
        options.data_folder / task.corpus, options.folder / "speakers"
    )
    wanted = [
        (unit, point)
        for unit in units(speakers, seeds)
        for point in chosen(settings.lobes, options.points, "--points")
        if unit.test in _asked(speakers, options.speakers, "--speakers")
        and unit.seed in _asked(seeds, options.seeds, "--seeds")
    ]
    missing = [one for one in wanted if not rotation.has(*one)]
    for number, (unit, point) in enumerate(missing, start=1):
        where = f"{unit.test} left out, seed {unit.seed}, {point}"
        print(f"[{number}/{len(missing)}] {where}", flush=True)
        rotation.run(unit, point)
        rotation.write_pooled(options.results)
    if wanted and not missing:
        # Rows of several machines may have been brought together.
        rotation.write_pooled(options.results)
    print(f"{options.results}: {len(missing)} trained, {len(wanted)} asked for")


def _asked(
    known: Sequence[Any], wanted: Sequence[Any] | None, option: str
) -> list[Any]:
    """Those of a list that were asked for; all, if none were."""
    return list(chosen(dict.fromkeys(known), wanted, option))


if __name__ == "__main__":
    sys.exit(main())
