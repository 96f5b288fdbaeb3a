"""Residual vector quantizers that keep what a second encoder knows."""

from functools import partial

import torch
from round_trips import small_residual, with_corners

from speechbrain_acom.quantizers.semantic import (
    SemanticResidualVectorQuantizer,
    TaughtResidualVectorQuantizer,
)

SMALL = {
    "num_codebooks": 2,
    "codebook_size": 16,
    "codebook_dim": 4,
    "kmeans_iterations": 5,
}


LOBES = {
    "semantic": partial(
        SemanticResidualVectorQuantizer, semantic_channels=2, **SMALL
    ),
    "semantic_moving_average": partial(
        SemanticResidualVectorQuantizer,
        semantic_channels=2,
        **{**SMALL, "codebook_update": "ema", "codebook_dim": None},
    ),
    # Without a teacher, as outside of a split.
    "taught": partial(TaughtResidualVectorQuantizer, **SMALL),
}


def _semantic(name, codebook_dim):
    """One channel each; the second encoder's deviates by 2 from 3."""
    quantizer = LOBES[name](
        channels=2,
        semantic_channels=1,
        codebook_size=4,
        codebook_dim=codebook_dim,
    )
    quantizer.statistics.observe(torch.tensor([[1.0], [5.0]]))
    quantizer.balance.fill_(0.5)
    with_corners(quantizer.quantizer)
    return quantizer


ROUND_TRIPS = {
    "semantic": partial(_semantic, "semantic", 2),
    "semantic_moving_average": partial(
        _semantic, "semantic_moving_average", None
    ),
    "taught": partial(small_residual, LOBES["taught"]),
}
