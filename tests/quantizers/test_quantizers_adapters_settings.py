"""Adapters of other libraries' quantizers: settings, extra, YAML fragments."""

import inspect
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from hyperpyyaml import load_hyperpyyaml
from lobes_adapters import LOBES

from speechbrain_acom.errors import ConfigurationError
from speechbrain_acom.quantizers import adapters
from speechbrain_acom.quantizers.adapters import (
    AdaptedBSQ,
    AdaptedDAC,
    AdaptedFSQ,
    AdaptedLFQ,
    AdaptedResidualFSQ,
    AdaptedResidualVQ,
    AdaptedSimVQ,
)

FRAGMENTS = Path(__file__).parents[2] / "hparams" / "quantizers"


@pytest.mark.parametrize(
    ("adapter", "keywords", "key"),
    [
        (AdaptedDAC, {"num_codebooks": 0}, "num_codebooks"),
        (AdaptedDAC, {"codebook_size": 65537}, "codebook_size"),
        (AdaptedDAC, {"codebook_dim": 65}, "codebook_dim"),
        (AdaptedDAC, {"quantizer_dropout": 1.5}, "quantizer_dropout"),
        (AdaptedDAC, {"commitment_weight": -1.0}, "commitment_weight"),
        (AdaptedDAC, {"kmeans_iterations": -1}, "kmeans_iterations"),
        (AdaptedBSQ, {"codebook_size": 1}, "codebook_size"),
        (AdaptedBSQ, {"codebook_size": 100}, "codebook_size"),
        (AdaptedBSQ, {"codebook_size": 2**17}, "codebook_size"),
        (AdaptedBSQ, {"channels": 4}, "codebook_size"),
        (AdaptedBSQ, {"entropy_weight": -0.1}, "entropy_weight"),
        (AdaptedBSQ, {"diversity_weight": -0.1}, "diversity_weight"),
        (AdaptedResidualVQ, {"num_codebooks": 0}, "num_codebooks"),
        (AdaptedResidualVQ, {"codebook_size": 0}, "codebook_size"),
        (AdaptedResidualVQ, {"codebook_dim": None}, "codebook_dim"),
        (AdaptedResidualVQ, {"distance": "cosine"}, "distance"),
        (AdaptedResidualVQ, {"distance": "far"}, "distance"),
        (AdaptedResidualVQ, {"codebook_update": "adam"}, "codebook_update"),
        (AdaptedResidualVQ, {"gradient": "none"}, "gradient"),
        (AdaptedResidualVQ, {"decay": 1.0}, "decay"),
        (AdaptedResidualVQ, {"dead_count": -1.0}, "dead_count"),
        (AdaptedSimVQ, {"codebook_size": 65537}, "codebook_size"),
        (AdaptedSimVQ, {"gradient": "none"}, "gradient"),
        (AdaptedLFQ, {"codebook_size": 48}, "codebook_size"),
        (AdaptedLFQ, {"commitment_weight": -1.0}, "commitment_weight"),
        (AdaptedFSQ, {"levels": [8, 2]}, "levels"),
        (AdaptedFSQ, {"levels": []}, "levels"),
        (AdaptedFSQ, {"levels": [16] * 5}, "levels"),
        (AdaptedFSQ, {"channels": 3}, "levels"),
        (AdaptedResidualFSQ, {"levels": [8, 1]}, "levels"),
        (AdaptedResidualFSQ, {"num_codebooks": 0}, "num_codebooks"),
    ],
)
def test_settings_out_of_range_name_their_key(adapter, keywords, key):
    with pytest.raises(ConfigurationError, match=f"^{key}: found") as error:
        adapter(**{"channels": 64, **keywords})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "adapter",
    [
        AdaptedFSQ,
        AdaptedLFQ,
        AdaptedResidualFSQ,
        AdaptedResidualVQ,
        AdaptedSimVQ,
    ],
)
def test_without_the_library_the_error_names_the_extra(monkeypatch, adapter):
    monkeypatch.setitem(sys.modules, "vector_quantize_pytorch", None)
    with pytest.raises(ImportError) as error:
        adapter(channels=64)
    assert str(error.value).startswith("vector_quantize_pytorch: not found")
    assert "speechbrain_acom[vector-quantize]" in str(error.value)
    assert "\n" not in str(error.value)


def test_the_package_does_not_import_the_library():
    script = (
        "import sys, speechbrain_acom.quantizers.adapters;"
        "assert 'vector_quantize_pytorch' not in sys.modules;"
        "import speechbrain_acom.quantizers"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize(
    ("fragment", "adapter"),
    [
        ("adapted_dac", AdaptedDAC),
        ("adapted_bsq", AdaptedBSQ),
        ("adapted_rvq", AdaptedResidualVQ),
        ("adapted_simvq", AdaptedSimVQ),
        ("adapted_lfq", AdaptedLFQ),
        ("adapted_fsq", AdaptedFSQ),
        ("adapted_residual_fsq", AdaptedResidualFSQ),
    ],
)
def test_fragments_hold_the_defaults_of_their_classes(
    tmp_path, fragment, adapter
):
    path = tmp_path / "recipe.yaml"
    path.write_text(f"quantizer: !include:{FRAGMENTS / fragment}.yaml\n")
    with path.open() as stream:
        quantizer = load_hyperpyyaml(stream)["quantizer"]
    defaults = {
        name: list(parameter.default)
        if isinstance(parameter.default, tuple)
        else parameter.default
        for name, parameter in inspect.signature(adapter).parameters.items()
        if name != "channels"
    }
    assert quantizer.func is adapter
    assert quantizer.keywords == defaults


@pytest.mark.skipif(
    find_spec("vector_quantize_pytorch") is None,
    reason="the optional package vector_quantize_pytorch is not installed",
)
def test_the_contract_is_asked_of_every_adapter():
    names = {lobe.func.__name__ for lobe in LOBES.values()}
    # The base of all, and one that keeps the authors' mistakes.
    others = {"AdaptedQuantizer", "UnmaskedDAC"}
    assert names | others == set(adapters.__all__)
