"""The demonstration: the whole line on a corpus that is made on the spot.

Makes machine-made speech and sounds, trains three small continuous models,
puts a quantizer into each, tunes, codes the test sets into bytes and has
another process answer. It runs the recipes as a user would.
"""

import argparse
import os
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from speechbrain_acom.corpora import make_sound_corpus, make_speech_corpus
from speechbrain_acom.errors import DataError
from speechbrain_acom.studies.command import exit_status
from speechbrain_acom.studies.picture import draw
from speechbrain_acom.studies.results import Row, read_rows, write_results
from speechbrain_acom.studies.runs import run_recipe
from speechbrain_acom.studies.tables import markdown_table

CTC = "LibriSpeech/ASR/CTC"
CLASSIFICATION = "UrbanSound8k/SoundClassification"

# Not options: trainings resume from what is in the folder, of any seed.
SEED = 1986
# Settings may be chosen on corpora of any seed but this one.
CORPUS_SEED = 2

COLUMNS = [
    "model",
    "tuning",
    "metric",
    "continuous",
    "coded",
    "random_codes",
    "constant_codes",
    "nominal_bps",
    "cross_entropy_bps",
    "payload_bps",
    "message_bps",
    "device_gmac_per_s",
    "total_gmac_per_s",
    "codebook_perplexity",
    "codebook_used_percent",
]


@dataclass(frozen=True)
class Model:
    """One model of the demonstration.

    Arguments
    ---------
    name : str
        What the table calls it.
    task : str
        What it does.
    recipe : str
        Folder of its recipe.
    hparams : str
        Its continuous YAML; the quantized one adds ``_rvq``.
    corpus : str
        "speech" or "sounds".
    metric : str
        Column of the recipe's results that counts.
    """

    name: str
    task: str
    recipe: str
    hparams: str
    corpus: str
    metric: str


MODELS = (
    Model(
        "conformer", "speech recognition", CTC, "mini", "speech", "wer_percent"
    ),
    Model(
        "ECAPA",
        "sound classification",
        CLASSIFICATION,
        "mini_ecapa",
        "sounds",
        "accuracy_percent",
    ),
    Model(
        "CNN14",
        "sound classification",
        CLASSIFICATION,
        "mini_cnn14",
        "sounds",
        "accuracy_percent",
    ),
)


@dataclass(frozen=True)
class Demo:
    """Where the demonstration reads and writes.

    Arguments
    ---------
    folder : Path
        Corpora, trained models and messages.
    recipes : Path
        The recipes of this repository.
    """

    folder: Path
    recipes: Path

    def output(self, name: str) -> Path:
        """Folder of a training, absolute, since recipes run in their own.

        Arguments
        ---------
        name : str
            Name of the training.

        Returns
        -------
        Path
            The folder.
        """
        return (self.folder / name).resolve()

    def train(
        self, model: Model, hparams: str, name: str, **more: object
    ) -> Row:
        """Run a recipe as a user would.

        Arguments
        ---------
        model : Model
            Which recipe, on which corpus.
        hparams : str
            Its YAML file, without the suffix.
        name : str
            Name of the training.
        **more
            Further keys and values.

        Returns
        -------
        Row
            The first row of its results.

        Raises
        ------
        DataError
            If the recipe fails.
        """
        recipe = self.recipes / model.recipe
        results = run_recipe(
            recipe,
            recipe / "hparams" / f"{hparams}.yaml",
            self.output(name),
            {
                "data_folder": (self.folder / model.corpus).resolve(),
                "seed": SEED,
                **more,
            },
            logged=False,
        )
        return read_rows(results)[0]

    def run(self, model: Model) -> list[Row]:
        """Train a model, quantize it with and without tuning, test both.

        Arguments
        ---------
        model : Model
            One of :data:`MODELS`.

        Returns
        -------
        list[Row]
            A row without and a row with tuning.

        Raises
        ------
        DataError
            If a recipe fails.
        """
        name = model.hparams
        continuous = self.train(model, name, name)
        start = {"pretrained_path": self.output(name) / "export"}
        name = f"{name}_rvq"
        untuned = self.train(
            model, name, f"{name}_untuned", **start, number_of_epochs=0
        )
        tuned = self.train(model, name, name, **start)
        return [
            _row(model, "none", continuous, untuned),
            _row(model, "task + quantizer losses", continuous, tuned),
        ]


def _row(model: Model, tuning: str, continuous: Row, coded: Row) -> Row:
    metric = model.metric
    return {
        "task": model.task,
        "model": model.name,
        "tuning": tuning,
        "metric": metric,
        "continuous": continuous[metric],
        "coded": coded[metric],
        metric: coded[metric],
        "random_codes": coded[f"random_codes_{metric}"],
        "constant_codes": coded[f"constant_codes_{metric}"],
        **{key: coded[key] for key in COLUMNS if key.endswith("_bps")},
        **{key: value for key, value in coded.items() if "_gmac_" in key},
        "codebook_perplexity": coded["codebook_0_perplexity"],
        "codebook_used_percent": coded["codebook_0_used_percent"],
        "messages": coded["messages"],
        "audio_s": coded["audio_s"],
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demonstration from the command line.

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
    parser.add_argument("--folder", type=Path, default=Path("demo"))
    parser.add_argument("--recipes", type=Path, default=Path("recipes"))
    parser.add_argument("--results", type=Path, default=Path("results"))
    options = parser.parse_args(arguments)
    return exit_status("demo", partial(_run, options))


def _run(options: argparse.Namespace) -> None:
    if not (options.recipes / CTC / "train.py").is_file():
        raise DataError(
            f"{options.recipes}: found no recipes, expected the folder recipes "
            "of the repository: run this from its root"
        )
    start = time.monotonic()
    demo = Demo(options.folder, options.recipes)
    _announce("1/4 making speech and sounds")
    speech = make_speech_corpus(
        demo.folder / "speech", CORPUS_SEED, progress=True
    )
    sounds = make_sound_corpus(
        demo.folder / "sounds", CORPUS_SEED, progress=True
    )
    rows: list[Row] = []
    for number, model in enumerate(MODELS, start=2):
        _announce(f"{number}/4 {model.task} with {model.name}")
        rows += demo.run(model)
    data = (
        f"machine-made speech ({speech.seconds / 3600:.2f} h, tested on "
        f"test-synthetic) and sounds ({sounds.seconds / 3600:.2f} h, tested on "
        "folds 9 and 10)"
    )
    path = write_results(
        options.results / "demo.json", rows, data, SEED, "make demo"
    )
    picture = draw(path, options.results / "demo.png")
    shutil.copy(picture, demo.folder)
    minutes = (time.monotonic() - start) / 60
    print(f"\n{markdown_table(rows, COLUMNS)}")
    print(f"{minutes:.1f} minutes; figures: {path}; picture: {picture}")
    print(f"models: {demo.folder}/*_rvq/export; try one:")
    example = next((demo.folder / "speech" / "test-synthetic").rglob("*.flac"))
    model_folder = demo.folder / "mini_rvq" / "export"
    acom = os.path.relpath(Path(sys.executable).with_name("acom"))
    print(f"  {acom} encode {example} -o out.acom --model {model_folder}")
    print(f"  {acom} decode out.acom --model {model_folder}")


def _announce(text: str) -> None:
    print(f"\n=== {text} ===", flush=True)


if __name__ == "__main__":
    sys.exit(main())
