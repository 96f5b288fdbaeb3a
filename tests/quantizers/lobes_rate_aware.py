"""Residual vector quantizers with a rate that keep the contract."""

from functools import partial

from random_rates import make_sure
from round_trips import small_residual

from speechbrain_acom.quantizers import RateAwareVectorQuantizer

_rate_aware = partial(
    RateAwareVectorQuantizer,
    num_codebooks=2,
    codebook_size=16,
    codebook_dim=4,
    kmeans_iterations=5,
    recent_frames=2,
    pooled_groups=1,
    embedding_dim=3,
    hidden_dim=5,
)


def _trained(channels, **settings):
    """A rate model that prefers some entries."""
    quantizer = _rate_aware(channels=channels, **settings)
    make_sure(quantizer.rate_model)
    return quantizer


LOBES = {
    "rate_aware": _rate_aware,
    "rate_aware_no_context": partial(
        _rate_aware, recent_frames=0, assignment_weight=0.1
    ),
    "rate_aware_assignment": partial(_trained, assignment_weight=0.1),
    "rate_aware_scalable": partial(
        _trained,
        num_codebooks=3,
        assignment_weight=0.1,
        quantizer_dropout=1.0,
        dead_threshold=0.5,
    ),
    "rate_aware_average": partial(
        _trained, assignment_weight=0.1, codebook_update="ema"
    ),
    "rate_aware_cosine": partial(
        _trained, assignment_weight=0.1, distance="cosine", codebook_dim=None
    ),
}
_sequential = {
    "test_exported_encoding_gives_the_same_codes_at_any_length": "a code "
    "depends on the codes before it, and an exported graph has no loop over "
    "frames that it has not seen"
}
EXCEPTIONS = dict.fromkeys(
    (
        "rate_aware_assignment",
        "rate_aware_scalable",
        "rate_aware_average",
        "rate_aware_cosine",
    ),
    _sequential,
)
ROUND_TRIPS = {
    name: partial(small_residual, lobe) for name, lobe in LOBES.items()
}
