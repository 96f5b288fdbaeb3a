"""Residual vector quantizers, and the bypass, that keep the contract."""

from functools import partial

from speechbrain_acom.quantizers import Bypass, ResidualVectorQuantizer

_residual = partial(
    ResidualVectorQuantizer,
    codebook_size=16,
    codebook_dim=4,
    kmeans_iterations=5,
)
LOBES = {
    "bypass": Bypass,
    "one_codebook": _residual,
    "three_codebooks": partial(_residual, num_codebooks=3),
    "moving_average": partial(
        _residual, num_codebooks=2, codebook_update="ema"
    ),
    "no_projection": partial(_residual, num_codebooks=2, codebook_dim=None),
    "one_entry": partial(_residual, codebook_size=1),
}
