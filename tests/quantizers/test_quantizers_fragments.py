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


# What a variant of rvq.yaml sets otherwise.
VARIANTS = {
    "rvq": {},
    "rvq_ema": {"codebook_update": "ema"},
    "rvq_cosine": {
        "distance": "cosine",
        "codebook_size": 1024,
        "codebook_dim": 8,
    },
    "rvq_rotation": {"gradient": "rotation"},
    "rvq_scalable": {"quantizer_dropout": 0.5, "num_codebooks": 8},
    "rvq_entropy": {"rate_weight": 0.05},
}


@pytest.mark.parametrize("name", VARIANTS)
def test_a_recipe_overrides_keys_of_the_fragment(tmp_path, name):
    text = (
        "num_codebooks: 2\n"
        f"quantizer: !include:{FRAGMENTS / name}.yaml\n"
        "    num_codebooks: !ref <num_codebooks>\n"
        "    codebook_size: 256\n"
        "    codebook_dim: null\n"
        "    kmeans_iterations: 3\n"
        "bottleneck: !name:speechbrain_acom.bottleneck.Bottleneck\n"
        "    quantizer: !ref <quantizer>\n"
    )
    recipe = _load(tmp_path, text, num_codebooks=3)
    assert isinstance(recipe["quantizer"], partial)
    quantizer = recipe["quantizer"](channels=144)
    assert isinstance(quantizer, ResidualVectorQuantizer)
    assert quantizer.cardinalities == (256,) * 3
    assert quantizer.codebook_dim is None
    assert quantizer.kmeans_iterations == 3
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
    found = {path.stem for path in FRAGMENTS.glob("*.yaml")}
    assert found >= {"bypass", *VARIANTS}


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


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_differs_from_the_plain_fragment_in_its_point_only(
    tmp_path, name
):
    plain, variant = (
        _load(tmp_path, f"quantizer: !include:{FRAGMENTS / stem}.yaml\n")
        for stem in ("rvq", name)
    )
    plain, variant = plain["quantizer"].keywords, variant["quantizer"].keywords
    assert {**plain, **variant} == {**plain, **VARIANTS[name]}
