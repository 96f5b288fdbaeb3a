"""The YAML fragments that recipes include."""

import inspect
from functools import partial
from pathlib import Path

import pytest
import torch
from hyperpyyaml import load_hyperpyyaml

from speechbrain_acom.bottleneck import Bottleneck
from speechbrain_acom.quantizers import Bypass, ResidualVectorQuantizer

FRAGMENTS = Path(__file__).parents[2] / "hparams" / "quantizers"


def _load(tmp_path, text, **overrides):
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with path.open() as stream:
        return load_hyperpyyaml(stream, overrides)


@pytest.mark.parametrize("name", ["rvq", "rvq_ema"])
def test_a_recipe_overrides_keys_of_the_fragment(tmp_path, name):
    text = (
        "num_codebooks: 2\n"
        f"quantizer: !include:{FRAGMENTS / name}.yaml\n"
        "    num_codebooks: !ref <num_codebooks>\n"
        "    codebook_dim: null\n"
        "bottleneck: !name:speechbrain_acom.bottleneck.Bottleneck\n"
        "    quantizer: !ref <quantizer>\n"
    )
    recipe = _load(tmp_path, text, num_codebooks=3)
    assert isinstance(recipe["quantizer"], partial)
    quantizer = recipe["quantizer"](channels=144)
    assert isinstance(quantizer, ResidualVectorQuantizer)
    assert quantizer.cardinalities == (256,) * 3
    assert quantizer.codebook_dim is None
    bottleneck = recipe["bottleneck"](channels=144)
    assert isinstance(bottleneck, Bottleneck)
    assert bottleneck.cardinalities == (256,) * 3


@pytest.mark.parametrize(
    "path", sorted(FRAGMENTS.glob("*.yaml")), ids=lambda path: path.stem
)
def test_every_fragment_gives_a_quantizer(tmp_path, path):
    recipe = _load(tmp_path, f"quantizer: !include:{path}\n")
    quantizer = recipe["quantizer"](channels=144).eval()
    result = quantizer(torch.randn(1, 3, 144))
    assert result.features.shape == (1, 3, 144)


def test_fragments_are_found():
    assert {path.stem for path in FRAGMENTS.glob("*.yaml")} >= {
        "bypass",
        "rvq",
        "rvq_ema",
    }


def test_swapping_the_quantizer_is_one_line(tmp_path):
    recipe = _load(
        tmp_path, f"quantizer: !include:{FRAGMENTS / 'bypass.yaml'}\n"
    )
    assert isinstance(recipe["quantizer"](channels=144), Bypass)


def test_the_plain_fragment_holds_the_defaults_of_the_class(tmp_path):
    recipe = _load(tmp_path, f"quantizer: !include:{FRAGMENTS / 'rvq.yaml'}\n")
    parameters = inspect.signature(ResidualVectorQuantizer).parameters
    defaults = {
        name: parameter.default
        for name, parameter in parameters.items()
        if name != "channels"
    }
    assert recipe["quantizer"].keywords == defaults


def test_the_moving_average_fragment_differs_in_the_update_only(tmp_path):
    plain, average = (
        _load(tmp_path, f"quantizer: !include:{FRAGMENTS / name}.yaml\n")
        for name in ("rvq", "rvq_ema")
    )
    assert average["quantizer"].keywords == {
        **plain["quantizer"].keywords,
        "codebook_update": "ema",
    }
