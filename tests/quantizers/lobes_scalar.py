"""Quantizers that round numbers instead of searching codebooks."""

from functools import partial

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
