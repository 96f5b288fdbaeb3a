"""The demonstration, without its trainings."""

import json
from pathlib import Path

import pytest

from speechbrain_acom.corpora import MadeCorpus
from speechbrain_acom.errors import DataError
from speechbrain_acom.studies import demo
from speechbrain_acom.studies.demo import CTC, MODELS, SEED, Demo, main

ROOT = Path(__file__).parents[2]
# Writes its arguments as results, or fails if it is told to.
TRAIN = """\
import json, os, sys
options = dict(one[2:].split("=") for one in sys.argv[2:])
if options["data_folder"].endswith("sounds"):
    sys.exit(3)
os.makedirs(options["output_folder"], exist_ok=True)
row = {"hparams": sys.argv[1], "folder": os.getcwd(), **options}
with open(options["output_folder"] + "/results.json", "w") as file:
    json.dump({"rows": [row, {}]}, file)
"""


@pytest.fixture
def recipes(tmp_path):
    """A folder of recipes that train nothing."""
    for model in MODELS:
        recipe = tmp_path / "recipes" / model.recipe
        recipe.mkdir(parents=True, exist_ok=True)
        (recipe / "train.py").write_text(TRAIN)
    return tmp_path / "recipes"


def trained_row(metric, value):
    """What a recipe's results have in a row."""
    return {
        metric: value,
        f"random_codes_{metric}": 99.0,
        f"constant_codes_{metric}": 98.0,
        "nominal_bps": 200.0,
        "cross_entropy_bps": 190.0,
        "payload_bps": 191.0,
        "message_bps": 210.0,
        "device_gmac_per_s": 0.1,
        "quantizer_gmac_per_s": 0.01,
        "total_gmac_per_s": 0.3,
        "codebook_0_perplexity": 100.0,
        "codebook_0_used_percent": 50.0,
        "messages": 20,
        "audio_s": 60.0,
    }


@pytest.fixture
def pretended(monkeypatch, recipes):
    """The demonstration with corpora and trainings taken out."""
    calls = []

    def train(self, model, hparams, name, **more):
        calls.append((hparams, name, more))
        value = 5.0 if "untuned" in name else 10.0 if "rvq" in name else 8.0
        return trained_row(model.metric, value)

    def make(folder, seed, progress):
        path = folder / "test-synthetic" / "a.flac"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"")
        return MadeCorpus(folder, clips=1, seconds=1800.0, newly_made=True)

    monkeypatch.setattr(Demo, "train", train)
    monkeypatch.setattr(demo, "make_speech_corpus", make)
    monkeypatch.setattr(demo, "make_sound_corpus", make)
    monkeypatch.chdir(recipes.parent)
    return calls


def test_demonstration_leaves_figures_and_a_picture(pretended, capsys):
    assert main([]) == 0
    content = json.loads(Path("results/demo.json").read_text())
    assert content["command"] == "make demo"
    assert content["seed"] == SEED
    assert len(content["rows"]) == 2 * len(MODELS)
    for row in content["rows"]:
        assert row["coded"] == row[row["metric"]]
        assert row["continuous"] == 8.0
        assert row["coded"] == (5.0 if row["tuning"] == "none" else 10.0)
        assert (row["random_codes"], row["constant_codes"]) == (99.0, 98.0)
        assert row["message_bps"] == 210.0 and row["total_gmac_per_s"] == 0.3
        assert row["codebook_perplexity"] == 100.0
    assert Path("results/demo.png").stat().st_size > 10_000
    assert Path("demo/demo.png").is_file()
    assert str(Path.cwd()) not in Path("results/demo.json").read_text()


def test_demonstration_prints_one_table_and_what_to_try(pretended, capsys):
    main([])
    output = capsys.readouterr().out
    table = [line for line in output.splitlines() if line.startswith("|")]
    assert len(table) == 2 + 2 * len(MODELS)
    assert table[0].startswith("| model | tuning | metric | continuous | coded")
    encode, decode = output.splitlines()[-2:]
    # The command of the environment that the demonstration runs in.
    assert "bin/acom encode demo/speech/test-synthetic/a" in encode
    assert decode.endswith(
        "bin/acom decode out.acom --model demo/mini_rvq/export"
    )


def test_quantized_models_start_from_the_continuous_one(pretended):
    main([])
    for number, model in enumerate(MODELS):
        continuous, untuned, tuned = pretended[3 * number : 3 * number + 3]
        name = model.hparams
        start = {"pretrained_path": Path("demo", name, "export").resolve()}
        assert continuous == (name, name, {})
        assert untuned[:2] == (f"{name}_rvq", f"{name}_rvq_untuned")
        assert untuned[2] == {**start, "number_of_epochs": 0}
        assert tuned == (f"{name}_rvq", f"{name}_rvq", start)


def test_recipe_runs_in_its_folder_with_absolute_paths(recipes, monkeypatch):
    monkeypatch.chdir(recipes.parent)
    row = Demo(Path("out"), Path("recipes")).train(
        MODELS[0], "mini", "first", lr=3
    )
    here = Path.cwd()
    assert row == {
        "hparams": str(here / "recipes" / CTC / "hparams" / "mini.yaml"),
        "folder": str(here / "recipes" / CTC),
        "data_folder": str(here / "out" / "speech"),
        "output_folder": str(here / "out" / "first"),
        "seed": str(SEED),
        "lr": "3",
    }


def test_recipe_that_fails_is_named(recipes, tmp_path):
    with pytest.raises(DataError, match="train.py: found exit status 3"):
        Demo(tmp_path / "out", recipes).train(MODELS[1], "mini_ecapa", "x")


@pytest.mark.parametrize("folder", ["nowhere", "."])
def test_folder_without_recipes_is_named(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["--recipes", folder]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"demo: {folder}: found no recipes, expected")
    assert not (tmp_path / "demo").exists()


def test_every_yaml_of_the_demonstration_is_there():
    for model in MODELS:
        folder = ROOT / "recipes" / model.recipe
        assert (folder / "train.py").is_file()
        for name in (model.hparams, f"{model.hparams}_rvq"):
            assert (folder / "hparams" / f"{name}.yaml").is_file()
