"""Residual vector quantizers, and the bypass, that keep the contract."""

from functools import partial

from round_trips import small_residual

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
    "cosine": partial(_residual, num_codebooks=2, distance="cosine"),
    "cosine_average": partial(
        _residual, num_codebooks=2, distance="cosine", codebook_update="ema"
    ),
    "rotation": partial(_residual, num_codebooks=2, gradient="rotation"),
    "entropy_aware": partial(_residual, num_codebooks=2, rate_weight=0.1),
    "scalable": partial(_residual, num_codebooks=3, quantizer_dropout=0.5),
    "scalable_average": partial(
        _residual,
        num_codebooks=3,
        quantizer_dropout=1.0,
        codebook_update="ema",
    ),
}
ROUND_TRIPS = {
    name: partial(small_residual, lobe)
    for name, lobe in LOBES.items()
    if name != "bypass"
} | {"bypass": partial(Bypass, channels=1)}
