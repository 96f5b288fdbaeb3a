"""Finite scalar quantization: a few dimensions, a few levels each."""

from collections.abc import Sequence

from speechbrain_acom.errors import ConfigurationError
from speechbrain_acom.quantizers.residual_finite_scalar import (
    ResidualFiniteScalarQuantizer,
)


class FiniteScalarQuantizer(ResidualFiniteScalarQuantizer):
    """A few bounded dimensions, each rounded to one of its levels.

    Mentzer et al., "Finite Scalar Quantization: VQ-VAE Made Simple", 2023,
    with the symmetric levels of Parker et al., "Scaling Transformers for
    Low-Bitrate High-Quality Speech Coding", 2024: dimension j has
    ``levels[j]`` levels from -1 to 1, 2 / (``levels[j]`` - 1) apart, odd or
    even. There is no codebook to learn and nothing that could collapse. It is
    a residual finite scalar quantizer of one stage; projections, rounding,
    dither, statistics and the start from data are described there.

    A trained one can be decomposed into residual stages, see
    :func:`~speechbrain_acom.quantizers.decomposition.decompose`.

    Arguments
    ---------
    channels : int
        Size of the last axis of the features.
    levels : Sequence[int]
        Number of levels per dimension, from 2 to 65536 each.
    dimensions_per_code : int | None
        Dimensions that share a code; the product of their levels may be at
        most 65536. None: all.
    dither : bool
        Whether to train with noise as Parker et al. False: everything is
        rounded in training too, as Mentzer et al.

    Raises
    ------
    ConfigurationError
        If a setting is out of its range or the settings do not fit together.

    Example
    -------
    >>> import torch
    >>> quantizer = FiniteScalarQuantizer(channels=8, levels=[4, 3])
    >>> quantizer.cardinalities
    (12,)
    >>> quantizer.initialize(torch.randn(1000, 8))
    >>> result = quantizer(torch.randn(2, 5, 8), torch.tensor([1.0, 0.4]))
    >>> result.features.shape, result.codes.shape
    (torch.Size([2, 5, 8]), torch.Size([2, 5, 1]))
    """

    def __init__(
        self,
        channels: int,
        levels: Sequence[int] = (8, 5, 5, 5),
        dimensions_per_code: int | None = None,
        dither: bool = False,
    ) -> None:
        if not isinstance(levels, Sequence) or isinstance(levels, str):
            raise ConfigurationError("levels", levels, "a list of integers")
        super().__init__(channels, [levels], [1.0], dimensions_per_code, dither)
