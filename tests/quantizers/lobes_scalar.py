"""Quantizers that round numbers instead of searching codebooks."""

from functools import partial

from round_trips import with_plain_projections

from speechbrain_acom.quantizers import (
    FiniteScalarQuantizer,
    ResidualFiniteScalarQuantizer,
    ScalarQuantizer,
    decompose,
)


def _decomposed(channels):
    quantizer = FiniteScalarQuantizer(
        channels, levels=[17] * 6, dimensions_per_code=3, dither=True
    )
    return decompose(quantizer, "4x729")


LOBES = {
    "finite_scalar": partial(FiniteScalarQuantizer, levels=[4, 3, 2]),
    "finite_scalar_dithered": partial(
        FiniteScalarQuantizer,
        levels=[17] * 4,
        dimensions_per_code=3,
        dither=True,
    ),
    "residual_finite_scalar": partial(
        ResidualFiniteScalarQuantizer,
        levels=[[5, 4, 3], [5, 3, 3]],
        scales=[1, 0.25],
        dimensions_per_code=2,
    ),
    "residual_finite_scalar_dropout": partial(
        ResidualFiniteScalarQuantizer, quantizer_dropout=0.5
    ),
    "decomposed_finite_scalar": _decomposed,
    "one_bit": partial(ScalarQuantizer, bits=1),
    "sixteen_bits": partial(ScalarQuantizer, bits=16),
}


def _plain(lobe, gain, channels, **settings):
    """``gain`` makes tanh(gain * v) nearest to v, of all values."""
    return with_plain_projections(lobe(channels=channels, **settings), gain)


def _decomposed_evenly(channels):
    """Nine values, spelled by 25 pairs of levels, none of them beyond 1."""
    return decompose(
        FiniteScalarQuantizer(channels, levels=[9] * channels),
        [([5] * channels, 0.5)] * 2,
    )


ROUND_TRIPS = {
    "finite_scalar": partial(_plain, LOBES["finite_scalar"], 1.2, 3),
    "finite_scalar_dithered": partial(
        _plain, LOBES["finite_scalar_dithered"], 1.2, 4, levels=[5, 4, 3, 2]
    ),
    "residual_finite_scalar": partial(
        _plain,
        LOBES["residual_finite_scalar"],
        1.4,
        3,
        levels=[[3, 2, 2], [3, 2, 2]],
        scales=[0.75, 0.25],
    ),
    "residual_finite_scalar_dropout": partial(
        _plain,
        LOBES["residual_finite_scalar_dropout"],
        1.4,
        2,
        levels=[[5, 5], [5, 5]],
        scales=[0.5, 0.5],
    ),
    "decomposed_finite_scalar": partial(_plain, _decomposed_evenly, 1.4, 2),
    "one_bit": partial(LOBES["one_bit"], channels=3),
    "sixteen_bits": partial(LOBES["sixteen_bits"], channels=1),
}
# Several rows of codes mean one value; only the canonical one is ever coded.
RESPELLED = {"residual_finite_scalar_dropout", "decomposed_finite_scalar"}
