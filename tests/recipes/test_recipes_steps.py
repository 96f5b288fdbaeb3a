"""Every YAML that ships trains two steps with its recipe's script.

The models are made small by the flags of ``<Dataset>.csv``, a row a YAML, as
SpeechBrain lists its own recipes.
"""

import csv
import importlib.util
import re
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest
from prepare_helpers import RECIPES, ROOT

from speechbrain_acom.studies import speech_recipe

ROWS = [
    row
    for file in sorted(Path(__file__).parent.glob("*.csv"))
    for row in csv.DictReader(file.open(encoding="utf-8"))
]
NAMES = [row["Hparam_file"].removeprefix("recipes/") for row in ROWS]
STEPS = 2
DEBUG = ["--debug", f"--debug_batches={STEPS}", "--debug_epochs=1"]


def test_every_yaml_has_a_row():
    files = RECIPES.glob("*/**/hparams/**/*.yaml")
    assert sorted(row["Hparam_file"] for row in ROWS) == sorted(
        str(path.relative_to(ROOT)) for path in files
    )


@pytest.mark.parametrize("row", ROWS, ids=NAMES)
def test_files_of_a_row_are_there_and_told_of(row):
    for column in ("Script_file", "Data_prep_file", "Readme_file"):
        assert (ROOT / row[column]).is_file()
    readme = (ROOT / row["Readme_file"]).read_text(encoding="utf-8")
    told = re.findall(r"[\w*/]+\.yaml", readme)
    name = Path(row["Hparam_file"]).name
    assert any(fnmatch(name, Path(pattern).name) for pattern in told)


@pytest.fixture
def script(monkeypatch):
    """Load a recipe's script; what it does after training is left out."""

    def load(path):
        monkeypatch.syspath_prepend(path.parent)
        monkeypatch.chdir(path.parent)
        found = importlib.util.spec_from_file_location("train", path)
        module = importlib.util.module_from_spec(found)
        found.loader.exec_module(module)
        brains = []
        for place in (module, speech_recipe):
            monkeypatch.setattr(
                place,
                "finish",
                lambda brain, *_: brains.append(brain),
                raising=False,
            )
        return module, brains

    yield load
    for name in ("librispeech_prepare", "urbansound8k_prepare"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("row", ROWS, ids=NAMES)
def test_two_steps_change_the_model(
    row, script, request, tmp_path, monkeypatch
):
    corpus = "speech" if row["Dataset"] == "LibriSpeech" else "sounds"
    module, brains = script(ROOT / row["Script_file"])
    command = [
        row["Script_file"],
        str(ROOT / row["Hparam_file"]),
        *DEBUG,
        f"--data_folder={request.getfixturevalue(corpus)}",
        f"--output_folder={tmp_path}",
        *row["test_debug_flags"].split(),
    ]
    monkeypatch.setattr(sys, "argv", command)
    module.main()
    [brain] = brains
    assert brain.optimizer_step == STEPS
    moved = [
        name
        for name, weight in brain.split.named_parameters()
        if weight in brain.optimizer.state
    ]
    # On both sides of the cut, and in it where there is a quantizer.
    parts = {name.split(".")[0] for name in moved}
    assert {"device_half", "cloud_half"} <= parts
    lossless = brain.bottleneck.quantizer.lossless
    assert ("bottleneck" in parts) == (not lossless)
