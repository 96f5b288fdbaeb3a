"""Swapping the quantizer of a recipe by one flag."""

from pathlib import Path

import pytest
import speechbrain as sb
from recipe_runs import ASR, SOUND

from speechbrain_acom.errors import ConfigurationError
from speechbrain_acom.hparams import load_hparams, resolve_hparams


@pytest.mark.parametrize(
    ("recipe", "name"), [(ASR, "mini_rvq"), (SOUND, "mini_ecapa_rvq")]
)
@pytest.mark.parametrize(
    ("settings", "cardinalities"),
    [("", (1000,)), (" {levels: [4, 3]}", (12,))],
)
def test_fragment_is_found_from_the_folder_of_the_recipe(
    recipe, name, settings, cardinalities, tmp_path, monkeypatch
):
    up = "/".join([".."] * len(recipe.relative_to(ASR.parents[3]).parts))
    monkeypatch.chdir(recipe)
    hparams_file, _, overrides = sb.parse_arguments(
        [
            f"hparams/{name}.yaml",
            "--data_folder=corpus",
            "--pretrained_path=model",
            f"--output_folder={tmp_path}",
            f"--quantizer=!include:{up}/hparams/quantizers/fsq.yaml{settings}",
        ]
    )
    quantizer = load_hparams(hparams_file, overrides)["split"].bottleneck
    assert quantizer.cardinalities == cardinalities
    # What the run keeps stands alone.
    kept = Path(tmp_path, "hyperparams.yaml")
    kept.write_text(resolve_hparams(hparams_file, overrides))
    monkeypatch.chdir(tmp_path)
    assert load_hparams(kept)["split"].bottleneck.cardinalities == cardinalities


def test_fragment_that_is_not_there_is_named(monkeypatch):
    monkeypatch.chdir(SOUND)
    overrides = "data_folder: x\npretrained_path: y\nquantizer: !include:a.yaml"
    with pytest.raises(ConfigurationError, match="found 'a.yaml', expected"):
        load_hparams("hparams/mini_ecapa_rvq.yaml", overrides)
