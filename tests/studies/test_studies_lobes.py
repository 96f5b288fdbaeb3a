"""The study of the quantizers: what it runs, and its rows."""

import json
import os
from pathlib import Path

import pytest

from speechbrain_acom.corpora import make_sound_corpus
from speechbrain_acom.errors import ConfigurationError
from speechbrain_acom.studies import lobe_study
from speechbrain_acom.studies.demo import CORPUS_SEED
from speechbrain_acom.studies.lobe_measures import (
    TrainedRun,
)
from speechbrain_acom.studies.lobe_settings import (
    read_lobe_settings,
)
from speechbrain_acom.studies.lobes import main
from speechbrain_acom.studies.results import read_rows
from speechbrain_acom.studies.runs import run_recipe

ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "recipes"
FRAGMENTS = ROOT / "hparams" / "quantizers"

SETTINGS = """\
command: make it
seed: 5
tasks:
    first: {recipe: A/B, continuous: mini, coded: mini_q, metrics: [wer_percent]}
    second:
        recipe: A/B
        continuous: mini
        coded: mini_q
        metrics: [wer_percent, cer_percent]
data:
    tiny:
        first: {corpus: one}
        second:
            corpus: two
            keys: {splits: [a]}
            continuous_keys: {epochs: 9}
            coded_keys: {epochs: 3}
lobes:
    # One.
    rvq:
        quantizer: !include:../pieces/rvq.yaml
            size: 8
    # Another.
    fsq:
        quantizer: !include:../pieces/fsq.yaml
        merge_mode: similar
"""
# Writes its arguments as results, or fails if its YAML says so.
TRAIN = """\
import json, os, sys
path = sys.argv[1]
text = open(path).read()
options = dict(one[2:].split("=") for one in sys.argv[2:])
output = options["output_folder"]
print("training")
if "broken" in text:
    sys.exit("ConfigurationError: size: found broken, expected 8")
os.makedirs(output, exist_ok=True)
with open(output + "/calls", "a") as file:
    file.write("x")
row = {"hparams": "v", "yaml": text, "folder": os.getcwd(), "num_codebooks": 0}
row |= {"wer_percent": 8.0, "cer_percent": 4.0, **options}
rows = [row]
if "rvq.yaml" in text:
    coded = {"wer_percent": 9.0, "message_bps": 210.0, "nominal_bps": 200.0}
    coded |= {"random_codes_wer_percent": 99.0}
    coded |= {"constant_codes_wer_percent": 98.0}
    coded |= {"codebook_size": 8}
    coded |= {"codebook_0_perplexity": 6.0, "codebook_1_perplexity": 4.0}
    coded |= {"codebook_0_used_percent": 90.0}
    rows = [{**row, **coded, "num_codebooks": k} for k in (1, 2)]
with open(output + "/results.json", "w") as file:
    origin = {"commit": "c", "date": "d", "hardware": "h", "seed": 5}
    json.dump({"data": "the set", **origin, "rows": rows}, file)
"""


@pytest.fixture
def study(tmp_path, monkeypatch):
    """Recipes that train nothing; returns the command that runs the study."""
    recipe = tmp_path / "recipes" / "A" / "B"
    (recipe / "hparams").mkdir(parents=True)
    (recipe / "train.py").write_text(TRAIN)
    for name in ("mini", "mini_q"):
        (recipe / "hparams" / f"{name}.yaml").write_text("quantizer: none\n")
    (tmp_path / "settings").mkdir()
    (tmp_path / "settings" / "lobes.yaml").write_text(SETTINGS)
    for corpus in ("one", "two"):
        (tmp_path / "corpora" / corpus).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(TrainedRun, "load", lambda folder: None)
    monkeypatch.setattr(lobe_study, "step_time_ratio", lambda run: 1.25)
    monkeypatch.setattr(lobe_study, "nominal_bps", lambda run: 3000.0)
    shared = ["--settings", "settings/lobes.yaml", "--data_folder", "corpora"]
    return lambda *more: main([*shared, "--data", "tiny", *more])


def rows():
    return read_rows("results/lobes.json")


def names():
    return [(row["task"], row["lobe"]) for row in rows()]


def calls(task, name):
    path = Path("studies/lobes/tiny", task, name, "calls")
    return len(path.read_text()) if path.is_file() else 0


def test_every_lobe_runs_on_every_task(study, capsys):
    assert study() == 0
    assert names() == [
        *[("first", "rvq")] * 2,
        ("first", "fsq"),
        *[("second", "rvq")] * 2,
        ("second", "fsq"),
    ]
    output = capsys.readouterr().out
    assert output.startswith("tiny: 4 to run, 0 finished before\n")
    assert (
        "[3/4] second, rvq: wer (%) 9, message (bit/s) 210.0, "
        "step time ratio 1.25; 0.0 minutes\n" in output
    )
    for task in ("first", "second"):
        assert calls(task, "continuous") == 1


def test_rows_have_what_the_table_shows(study):
    study("--tasks", "second")
    one, two, lossless = rows()
    assert (one["num_codebooks"], two["num_codebooks"]) == (1, 2)
    expected = {
        "data": "tiny",
        "settings": "rvq.yaml {size: 8}",
        "metric": "wer_percent",
        "continuous": 8.0,
        "coded": 9.0,
        "random_codes": 99.0,
        "constant_codes": 98.0,
        "continuous_cer_percent": 4.0,
        "cer_percent": 4.0,
        "nominal_bps": 200.0,
        "message_bps": 210.0,
        "codebook_perplexity": 5.0,
        "codebook_used_percent": 90.0,
        "codebook_1_perplexity": 4.0,
        "step_time_ratio": 1.25,
        "recordings": "the set",
        "commit": "c",
    }
    assert {key: two[key] for key in expected} == expected
    assert "hparams" not in two
    # What has no bytes has no controls and a rate on paper only.
    assert lossless["settings"] == "fsq.yaml, merge_mode: similar"
    assert lossless["random_codes"] is lossless["constant_codes"] is None
    assert lossless["codebook_perplexity"] is None
    assert lossless["nominal_bps"] == 3000.0
    content = json.loads(Path("results/lobes.json").read_text())
    assert (content["command"], content["seed"]) == ("make it", 5)
    assert content["data"] == "the set"


def test_only_the_lobes_keys_differ_from_the_recipe(study):
    study()
    place = Path("studies/lobes/tiny")
    recipe = "../../../../recipes/A/B/hparams"
    quantizer = "quantizer: !include:../../../../pieces/rvq.yaml\n  size: 8\n"
    texts = {
        "first/continuous": f"!include:{recipe}/mini.yaml\n",
        "first/rvq": f"!include:{recipe}/mini_q.yaml\n{quantizer}",
        "second/continuous": (
            f"!include:{recipe}/mini.yaml\nsplits: [a]\nepochs: 9\n"
        ),
        "second/rvq": (
            f"!include:{recipe}/mini_q.yaml\nsplits: [a]\nepochs: 3\n{quantizer}"
        ),
        "first/fsq": (
            f"!include:{recipe}/mini_q.yaml\n"
            "quantizer: !include:../../../../pieces/fsq.yaml\n"
            "merge_mode: similar\n"
        ),
    }
    for name, text in texts.items():
        written = (place / f"{name}.yaml").read_text()
        assert written == f"{text}seed: 5\n"


def test_all_runs_have_one_seed_and_one_start(study):
    study("--tasks", "second")
    here = Path.cwd()
    output = here / "studies" / "lobes" / "tiny" / "second"
    for row in rows():
        assert "seed: 5\n" in row["yaml"]
        assert row["folder"] == str(here / "recipes" / "A" / "B")
        assert row["data_folder"] == str(here / "corpora" / "two")
        assert row["pretrained_path"] == str(output / "continuous" / "export")
        assert row["output_folder"] == str(output / row["lobe"])


def test_what_is_finished_is_not_run_again(study, capsys):
    study("--lobes", "rvq")
    assert study() == 0
    assert "tiny: 2 to run, 2 finished before" in capsys.readouterr().out
    assert calls("first", "rvq") == calls("first", "continuous") == 1
    # Rows are kept where the trained models are gone, in a fresh clone.
    Path("studies").rename("gone")
    study()
    assert calls("first", "rvq") == 0
    order = names()
    assert study("--again", "--lobes", "rvq", "--tasks", "first") == 0
    assert calls("first", "rvq") == 1 and calls("second", "rvq") == 0
    assert names() == order


def test_task_may_have_lobes_of_its_own(study, capsys):
    settings = Path("settings/lobes.yaml")
    own = "corpus: two\n            lobes: [rvq]"
    settings.write_text(SETTINGS.replace("corpus: two", own))
    assert study() == 0
    assert set(names()) == {
        ("first", "rvq"),
        ("first", "fsq"),
        ("second", "rvq"),
    }
    assert "tiny: 3 to run, 0 finished before" in capsys.readouterr().out
    settings.write_text(SETTINGS.replace("corpus: two", own[:-1] + "x]"))
    assert study() == 1
    assert "lobes of second: found 'rvqx', expected one of rvq, fsq" in (
        capsys.readouterr().err
    )


def test_row_is_made_of_a_run_that_had_ended(study):
    study()
    Path("results/lobes.json").unlink()
    assert study() == 0
    assert len(rows()) == 6
    assert calls("second", "rvq") == 1


def test_run_of_other_settings_is_not_resumed(study):
    study("--lobes", "rvq", "--tasks", "second")
    Path("results/lobes.json").unlink()
    left = Path("studies/lobes/tiny/second/rvq/checkpoint")
    left.touch()
    settings = Path("settings/lobes.yaml")
    settings.write_text(SETTINGS.replace("epochs: 3", "epochs: 4"))
    study("--lobes", "rvq", "--tasks", "second")
    assert not left.exists() and calls("second", "rvq") == 1
    assert calls("second", "continuous") == 1
    assert "epochs: 4" in rows()[0]["yaml"]


def test_run_of_another_start_is_not_resumed(study):
    study("--lobes", "rvq", "--tasks", "second")
    Path("results/lobes.json").unlink()
    run = Path("studies/lobes/tiny/second/rvq")
    (run / "hyperparams.yaml").touch()
    study("--lobes", "rvq", "--tasks", "second")
    assert calls("second", "rvq") == 1
    Path("results/lobes.json").unlink()
    os.utime(run / "hyperparams.yaml", (0, 0))
    study("--lobes", "rvq", "--tasks", "second")
    assert not (run / "hyperparams.yaml").exists()
    assert calls("second", "rvq") == calls("second", "continuous") == 1


def test_lobe_that_fails_is_told_and_the_others_go_on(study, capsys):
    settings = Path("settings/lobes.yaml")
    settings.write_text(SETTINGS.replace("size: 8", "size: broken"))
    assert study() == 1
    assert names() == [("first", "fsq"), ("second", "fsq")]
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 2
    log = Path("studies/lobes/tiny/first/rvq.log").resolve()
    assert errors[0] == (
        f"lobes: first, rvq: DataError: {log}: found exit status 1, expected "
        "0: ConfigurationError: size: found broken, expected 8"
    )
    assert log.read_text().startswith("training\n")
    settings.write_text(SETTINGS)
    assert study() == 0
    assert "2 to run, 2 finished before" in capsys.readouterr().out


def test_interrupted_study_keeps_its_rows(study, monkeypatch, capsys):
    def interrupted(recipe, hparams, *more):
        if "second" in str(hparams):
            raise KeyboardInterrupt
        return run_recipe(recipe, hparams, *more)

    monkeypatch.setattr(lobe_study, "run_recipe", interrupted)
    assert study() == 130
    assert len(rows()) == 3
    assert "the same command goes on" in capsys.readouterr().err
    assert not list(Path("results").glob("*.unfinished"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--data", "none"], "--data: found 'none', expected one of tiny"),
        (["--lobes", "x"], "--lobes: found 'x', expected one of rvq, fsq"),
        (["--tasks", "x"], "--tasks: found 'x', expected one of first, second"),
        (["--settings", "no.yaml"], "hparams file: found 'no.yaml'"),
        (["--recipes", "no"], "no/A/B: found no train.py, expected a recipe"),
        (["--data_folder", "no"], "no/one: found no such folder, expected"),
        (["--results", "."], ".: found nothing to read (Is a directory)"),
    ],
)
def test_mistakes_are_named_in_one_line(study, options, words, capsys):
    assert study(*options) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"lobes: {words}")
    assert not Path("results").exists()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("seed: 5\n", ""),
        ("corpus: one", "copus: one"),
        ("first: {corpus", "third: {corpus"),
    ],
)
def test_damaged_settings_are_named(study, old, new):
    path = Path("settings/lobes.yaml")
    path.write_text(SETTINGS.replace(old, new))
    with pytest.raises(ConfigurationError, match="settings/lobes.yaml: found"):
        read_lobe_settings(path, "tiny")


def test_machine_made_corpora_are_made(study, monkeypatch):
    made = []

    def make(folder, seed, progress):
        made.append((folder, seed))

    monkeypatch.setattr(lobe_study, "MADE", "tiny")
    monkeypatch.setattr(lobe_study, "MAKERS", {"one": make, "two": make})
    study("--lobes", "rvq")
    corpora = Path("corpora")
    assert made == [(corpora / name, CORPUS_SEED) for name in ("one", "two")]


def test_a_lobe_is_trained_measured_and_coded(tmp_path, monkeypatch):
    """All of it, on a corpus that is made in a second."""
    make_sound_corpus(tmp_path / "sounds", clips=60)
    settings = (
        "command: make it\n"
        "seed: 1\n"
        "tasks:\n"
        "    cnn14:\n"
        "        recipe: UrbanSound8k/SoundClassification\n"
        "        continuous: mini_cnn14\n"
        "        coded: mini_cnn14_rvq\n"
        "        metrics: [accuracy_percent]\n"
        "data:\n"
        "    tiny:\n"
        "        cnn14:\n"
        "            corpus: sounds\n"
        "            keys:\n"
        "                {width: 0.03125, embedding_size: 16, batch_size: 8,\n"
        "                number_of_epochs: 1, warmup_steps: 2}\n"
        "lobes:\n"
        "    fsq:\n"
        f"        quantizer: !include:{FRAGMENTS}/fsq.yaml\n"
        "            levels: [4, 3]\n"
    )
    (tmp_path / "settings.yaml").write_text(settings)
    monkeypatch.chdir(tmp_path)
    options = ["--data", "tiny", "--settings", "settings.yaml"]
    options += ["--data_folder", ".", "--recipes", str(RECIPES)]
    assert main(options) == 0
    [row] = rows()
    assert row["quantizer"] == "FiniteScalarQuantizer"
    assert row["codebook_size"] == 12
    assert row["message_bps"] > row["payload_bps"] > 0
    assert row["coded"] == row["accuracy_percent"]
    assert 1.0 <= row["codebook_perplexity"] <= 12.0
    assert row["step_time_ratio"] > 0
    assert row["recordings"].startswith("machine-made sounds: train")
