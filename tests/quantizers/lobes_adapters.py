"""Other libraries' quantizers that keep the contract."""

from functools import partial
from importlib.util import find_spec

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
