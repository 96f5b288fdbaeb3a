"""Training one model with one lobe in its cut, and the row that it gives."""

import json
import shutil
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from speechbrain_acom.corpora import make_sound_corpus, make_speech_corpus
from speechbrain_acom.hparams import write_variant
from speechbrain_acom.studies.demo import CORPUS_SEED
from speechbrain_acom.studies.lobe_measures import (
    TrainedRun,
    nominal_bps,
    step_time_ratio,
)
from speechbrain_acom.studies.lobe_settings import (
    Keys,
    LobeSettings,
    LobeTask,
    described,
)
from speechbrain_acom.studies.results import Row, read_rows
from speechbrain_acom.studies.runs import run_recipe

# The data set whose corpora are made where they are missing, and how.
MADE = "made"
MAKERS: Mapping[str, Callable] = {
    "speech": make_speech_corpus,
    "sounds": make_sound_corpus,
}


@dataclass(frozen=True)
class LobeStudy:
    """Where the study reads and writes.

    Arguments
    ---------
    data : str
        Name of the data set.
    settings : LobeSettings
        What is trained on it.
    data_folder : Path
        Holds the corpora.
    folder : Path
        Variants of YAML files, logs, trained models and messages.
    recipes : Path
        The recipes of this repository.
    timed : bool
        Whether the time of a training step is measured, which takes minutes.
    """

    data: str
    settings: LobeSettings
    data_folder: Path
    folder: Path
    recipes: Path
    timed: bool = True

    def rows(self, task: LobeTask, lobe: str) -> list[Row]:
        """Tune a task's model with a lobe in its cut.

        The corpus, where it is a machine-made one, and the continuous model
        are made first where they are missing.

        Arguments
        ---------
        task : LobeTask
            The task.
        lobe : str
            Name of the lobe.

        Returns
        -------
        list[Row]
            What the recipe says of it and what the study adds; a row for each
            number of codebooks that is tested.

        Raises
        ------
        DataError
            If a recipe fails.
        """
        continuous = self._continuous(task)
        keys = self.settings.lobes[lobe]
        results = self._train(
            task,
            lobe,
            task.coded,
            {**task.keys, **task.coded_keys, **keys},
            pretrained_path=self._place(task, "continuous") / "export",
        )
        run = TrainedRun.load(results.parent)
        timing = {}
        if self.timed:
            timing = {"step_time_ratio": step_time_ratio(run)}
        return [
            {
                "data": self.data,
                "task": task.name,
                "lobe": lobe,
                "settings": described(keys),
                **_figures(task.metrics, continuous, coded),
                # Where nothing is coded into bytes the recipe has no rate.
                "nominal_bps": coded.get("nominal_bps") or nominal_bps(run),
                **timing,
                **origin(results),
            }
            for coded in read_rows(results)
        ]

    def forget(self, task: LobeTask, lobe: str) -> None:
        """Remove what an earlier run of a lobe left.

        Arguments
        ---------
        task : LobeTask
            The task.
        lobe : str
            Name of the lobe.
        """
        shutil.rmtree(self._place(task, lobe), ignore_errors=True)

    def _continuous(self, task: LobeTask) -> Row:
        """The continuous model's row; trained once."""
        if self.data == MADE:
            make = MAKERS[task.corpus]
            make(self.data_folder / task.corpus, CORPUS_SEED, progress=True)
        keys = {**task.keys, **task.continuous_keys}
        results = self._train(task, "continuous", task.continuous, keys)
        return read_rows(results)[0]

    def _train(
        self,
        task: LobeTask,
        name: str,
        hparams: str,
        keys: Keys,
        **overrides: object,
    ) -> Path:
        """Write a variant and run it, unless its results are there."""
        recipe = self.recipes / task.recipe
        path, output = (
            self._place(task, f"{name}.yaml"),
            self._place(task, name),
        )
        before = path.read_text(encoding="utf-8") if path.is_file() else ""
        keys = {**keys, "seed": self.settings.seed}
        write_variant(path, recipe / "hparams" / f"{hparams}.yaml", keys)
        other = path.read_text(encoding="utf-8") != before
        if other or self._older(output, self._place(task, "continuous")):
            # Checkpoints of other settings are not to be resumed, nor those of
            # another start.
            shutil.rmtree(output, ignore_errors=True)
        results = output / "results.json"
        if results.is_file():
            return results
        overrides["data_folder"] = (self.data_folder / task.corpus).resolve()
        return run_recipe(recipe, path, output, overrides)

    @staticmethod
    def _older(output: Path, start: Path) -> bool:
        """Whether a run began before what it starts from was there."""
        begun, made = output / "hyperparams.yaml", start / "results.json"
        if output == start or not (begun.is_file() and made.is_file()):
            return False
        return begun.stat().st_mtime < made.stat().st_mtime

    def _place(self, task: LobeTask, name: str) -> Path:
        """Absolute, since recipes run in their own folders."""
        return (self.folder / self.data / task.name / name).resolve()


def _figures(metrics: Sequence[str], continuous: Row, coded: Row) -> Row:
    """The recipe's figures of one run, beside those of the continuous one."""
    chief = metrics[0]
    return {
        "metric": chief,
        "continuous": continuous[chief],
        "coded": coded[chief],
        # What is not coded into bytes has no controls.
        "random_codes": coded.get(f"random_codes_{chief}"),
        "constant_codes": coded.get(f"constant_codes_{chief}"),
        "codebook_perplexity": _mean(coded, "_perplexity"),
        "codebook_used_percent": _mean(coded, "_used_percent"),
        **{f"continuous_{metric}": continuous[metric] for metric in metrics},
        # The name of its YAML is that of the lobe.
        **{key: value for key, value in coded.items() if key != "hparams"},
    }


def _mean(row: Row, suffix: str) -> float | None:
    """Mean over the codebooks of a row."""
    values = [
        float(value)
        for key, value in row.items()
        if key.startswith("codebook_") and key.endswith(suffix)
    ]
    return statistics.mean(values) if values else None


def origin(results: Path) -> Row:
    """What a results file says of all its rows: data, commit, hardware."""
    content = json.loads(results.read_text(encoding="utf-8"))
    kept = ("commit", "date", "hardware")
    return {
        "recordings": content["data"],
        **{key: content[key] for key in kept},
    }
