"""Swapping the prior of a recipe by one flag."""

from pathlib import Path

import numpy as np
import pytest
import speechbrain as sb
from recipe_runs import ASR, SOUND

from speechbrain_acom.entropy.priors import (
    AdaptivePrior,
    ContextPrior,
    StaticPrior,
    prior_digest,
)
from speechbrain_acom.hparams import load_hparams, resolve_hparams

CODES = [np.array([[0, 1], [1, 1]])]


def of_command_line(recipe, name, output, *flags):
    return sb.parse_arguments(
        [
            f"hparams/{name}.yaml",
            "--data_folder=corpus",
            "--pretrained_path=model",
            f"--output_folder={output}",
            *flags,
        ]
    )[::2]


@pytest.mark.parametrize(
    ("recipe", "name"), [(ASR, "mini_rvq"), (SOUND, "mini_cnn14_rvq")]
)
def test_tables_are_the_default(recipe, name, tmp_path, monkeypatch):
    monkeypatch.chdir(recipe)
    hparams = load_hparams(*of_command_line(recipe, name, tmp_path))
    prior = hparams["prior"](CODES, (2, 3))
    assert isinstance(prior, StaticPrior)
    assert prior.cardinalities == (2, 3)


@pytest.mark.parametrize(
    ("recipe", "name"), [(ASR, "mini_rvq"), (SOUND, "mini_ecapa_rvq")]
)
@pytest.mark.parametrize(
    ("fragment", "kind"),
    [
        ("static.yaml", StaticPrior),
        ("context.yaml", ContextPrior),
        ("context.yaml {order: 1}", ContextPrior),
        ("adaptive.yaml {rate: 0.1}", AdaptivePrior),
    ],
)
def test_fragment_is_found_from_the_folder_of_the_recipe(
    recipe, name, fragment, kind, tmp_path, monkeypatch
):
    up = "/".join([".."] * len(recipe.relative_to(ASR.parents[3]).parts))
    monkeypatch.chdir(recipe)
    flag = f"--prior=!include:{up}/hparams/priors/{fragment}"
    hparams_file, overrides = of_command_line(recipe, name, tmp_path, flag)
    prior = load_hparams(hparams_file, overrides)["prior"](CODES, (2, 2))
    assert type(prior) is kind
    # What the run keeps stands alone.
    kept = Path(tmp_path, "hyperparams.yaml")
    kept.write_text(resolve_hparams(hparams_file, overrides))
    monkeypatch.chdir(tmp_path)
    again = load_hparams(kept)["prior"](CODES, (2, 2))
    assert prior_digest(again) == prior_digest(prior)
