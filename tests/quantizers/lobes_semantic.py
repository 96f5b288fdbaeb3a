"""Residual vector quantizers that keep what a second encoder knows."""

from functools import partial

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
