"""Other libraries' quantizers that keep the contract."""

from functools import partial
from importlib.util import find_spec

import torch
from round_trips import CORNERS, corners, with_plain_projections

from speechbrain_acom.quantizers.adapters import (
    AdaptedBSQ,
    AdaptedDAC,
    AdaptedFSQ,
    AdaptedLFQ,
    AdaptedResidualFSQ,
    AdaptedResidualVQ,
    AdaptedSimVQ,
)

_small = {"codebook_size": 16, "codebook_dim": 4, "kmeans_iterations": 3}
SPEECHBRAIN = {
    "adapted_dac": partial(AdaptedDAC, num_codebooks=2, **_small),
    "adapted_dac_dropout": partial(
        AdaptedDAC, num_codebooks=3, quantizer_dropout=0.5, **_small
    ),
    "adapted_bsq": partial(AdaptedBSQ, codebook_size=16),
}
_ema = {"codebook_update": "ema", "dead_count": 0.5, **_small}
VECTOR_QUANTIZE = {
    "adapted_vq": partial(AdaptedResidualVQ, **_small),
    "adapted_rvq": partial(
        AdaptedResidualVQ,
        num_codebooks=3,
        gradient="rotation",
        quantizer_dropout=0.5,
        **_small,
    ),
    "adapted_rvq_ema": partial(AdaptedResidualVQ, num_codebooks=2, **_ema),
    "adapted_rvq_cosine": partial(
        AdaptedResidualVQ, num_codebooks=2, distance="cosine", **_ema
    ),
    "adapted_lfq": partial(AdaptedLFQ, codebook_size=16),
    "adapted_residual_lfq": partial(
        AdaptedLFQ, num_codebooks=3, codebook_size=16, quantizer_dropout=0.5
    ),
    "adapted_simvq": partial(AdaptedSimVQ, **_small),
    "adapted_residual_simvq": partial(
        AdaptedSimVQ, num_codebooks=3, quantizer_dropout=0.5, **_small
    ),
    "adapted_fsq": partial(AdaptedFSQ, levels=[4, 5, 3]),
    "adapted_residual_fsq": partial(
        AdaptedResidualFSQ,
        num_codebooks=3,
        levels=[4, 5, 2],
        quantizer_dropout=0.5,
    ),
}
LOBES = SPEECHBRAIN | (
    VECTOR_QUANTIZE if find_spec("vector_quantize_pytorch") else {}
)
_averages = {
    "test_a_batch_twice_gives_the_same_losses_and_averages": "the library "
    "averages counts of frames, not shares"
}
EXCEPTIONS = {
    name: _averages
    for name in ("adapted_rvq_ema", "adapted_rvq_cosine")
    if name in LOBES
}


@torch.no_grad()
def _dac(lobe):
    quantizer = lobe(channels=2, codebook_size=4, codebook_dim=2)
    stages = quantizer.module.quantizers
    for stage, entries in zip(stages, corners(len(stages)), strict=True):
        stage.codebook.weight.copy_(entries)
        for convolution in (stage.in_proj, stage.out_proj):
            convolution.weight = torch.eye(2).unsqueeze(-1)
            convolution.bias.zero_()
    return quantizer


@torch.no_grad()
def _residual_vq(lobe):
    quantizer = lobe(channels=2, codebook_size=4, codebook_dim=2)
    layers = quantizer.module.layers
    for layer, entries in zip(layers, corners(len(layers)), strict=True):
        layer.codebook.copy_(entries)
    return with_plain_projections(quantizer)


@torch.no_grad()
def _cosine_vq(lobe):
    """Entries of length one; the second stage's lean out of the plane."""
    quantizer = lobe(channels=3, codebook_size=4, codebook_dim=3)
    first, second = (layer.codebook for layer in quantizer.module.layers)
    flat = torch.cat([CORNERS / 2**0.5, torch.zeros(4, 1)], dim=1)
    first.copy_(flat)
    second.copy_(0.6 * flat + torch.tensor([0.0, 0.0, 0.8]))
    return with_plain_projections(quantizer)


@torch.no_grad()
def _sim_vq(lobe):
    """The map doubles entries of half the size."""
    quantizer = lobe(channels=2, codebook_size=4, codebook_dim=2)
    layers = quantizer.module.layers
    for layer, entries in zip(layers, corners(len(layers)), strict=True):
        layer.frozen_codebook.copy_(entries / 2)
        layer.code_transform.weight.copy_(2 * torch.eye(2))
    return with_plain_projections(quantizer)


def _signs(lobe):
    return with_plain_projections(lobe(channels=3, codebook_size=8))


def _rounded(lobe, gain, channels, **settings):
    """``gain`` makes up for tanh: values are rounded to themselves."""
    return with_plain_projections(lobe(channels=channels, **settings), gain)


_round_trips = {
    "adapted_dac": _dac,
    "adapted_dac_dropout": _dac,
    "adapted_bsq": _signs,
    "adapted_vq": _residual_vq,
    "adapted_rvq": _residual_vq,
    "adapted_rvq_ema": _residual_vq,
    "adapted_rvq_cosine": _cosine_vq,
    "adapted_lfq": _signs,
    "adapted_residual_lfq": _signs,
    "adapted_simvq": _sim_vq,
    "adapted_residual_simvq": _sim_vq,
    "adapted_fsq": partial(_rounded, gain=1.4, channels=3),
    "adapted_residual_fsq": partial(
        _rounded, gain=1.25, channels=2, num_codebooks=2, levels=[3, 2]
    ),
}
ROUND_TRIPS = {
    name: partial(_round_trips[name], lobe) for name, lobe in LOBES.items()
}
