"""Adapters of FSQ and ResidualFSQ of vector-quantize-pytorch."""

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from speechbrain_acom.errors import ConfigurationError
from speechbrain_acom.quantizers.adapters.base import first_stages
from speechbrain_acom.quantizers.adapters.library import (
    vector_quantize_pytorch,
)
from speechbrain_acom.quantizers.adapters.projected import (
    LearntValues,
    ProjectedQuantizer,
)
from speechbrain_acom.quantizers.adapters.signs import TIE
from speechbrain_acom.quantizers.settings import (
    LARGEST_CODEBOOK,
    check_integer,
    check_num_codebooks,
)


class AdaptedFSQ(ProjectedQuantizer):
    """``FSQ`` of vector-quantize-pytorch.

    Linear layers of this package project to as many dimensions as there are
    levels and back; the module bounds every dimension and rounds it to one of
    its levels (Mentzer et al., "Finite Scalar Quantization", 2023). There are
    no losses.

    Arguments
    ---------
    channels : int
        Size of the last axis of the features.
    levels : Sequence[int]
        Number of levels of every dimension, each at least 3, at most
        ``channels`` of them; their product, V, is at most 65536.

    Raises
    ------
    ConfigurationError
        If ``levels`` are none of these.
    ImportError
        If the library is not installed.

    Example
    -------
    >>> quantizer = AdaptedFSQ(channels=16)
    >>> result = quantizer(torch.randn(2, 5, 16), torch.tensor([1.0, 0.4]))
    >>> result.codes.shape, quantizer.cardinalities
    (torch.Size([2, 5, 1]), (1000,))
    """

    unit_variance = True

    def __init__(
        self, channels: int, levels: Sequence[int] = (8, 5, 5, 5)
    ) -> None:
        _check_levels(levels, 3, channels)
        module = vector_quantize_pytorch().FSQ(list(levels))
        super().__init__(channels, len(levels), module)

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """Entries of the one codebook: (V,)."""
        return (self.module.codebook_size,)

    def codebooks(self) -> list[Tensor]:
        """All rows of levels."""
        return [self.module.implicit_codebook]

    def stage_codes(
        self, stage: int, residual: Tensor, entries: Tensor
    ) -> Tensor:
        """Codes of the levels that values (frame, D) are rounded to."""
        return _rounded_codes(self.module, residual)

    def learnt_values(self, values: Tensor, num_codebooks: int) -> LearntValues:
        """Run the module in training mode on values (frame, D)."""
        quantized, codes = self.module(values.unsqueeze(0))
        return LearntValues(quantized[0], codes[0].unsqueeze(-1))


class AdaptedResidualFSQ(ProjectedQuantizer):
    """``ResidualFSQ`` of vector-quantize-pytorch.

    Linear layers of this package project to as many dimensions as there are
    levels and back; the module bounds the values, and every stage rounds what
    those before it left over, each time on a scale finer by the number of
    levels. There are no losses. The gradient of K stages reaches the features
    K times.

    Arguments
    ---------
    channels : int
        Size of the last axis of the features.
    num_codebooks : int
        K, the number of stages, from 1 to 65536.
    levels : Sequence[int]
        Number of levels of every dimension in every stage, each at least 2,
        at most ``channels`` of them; their product, V, is at most 65536.
    quantizer_dropout : float
        See :class:`~speechbrain_acom.quantizers.adapters.AdaptedQuantizer`.

    Raises
    ------
    ConfigurationError
        If one of these is out of its range.
    ImportError
        If the library is not installed.

    Example
    -------
    >>> quantizer = AdaptedResidualFSQ(channels=16)
    >>> result = quantizer(torch.randn(2, 5, 16), torch.tensor([1.0, 0.4]))
    >>> result.codes.shape, quantizer.cardinalities
    (torch.Size([2, 5, 2]), (225, 225))
    """

    unit_variance = True

    def __init__(
        self,
        channels: int,
        num_codebooks: int = 2,
        levels: Sequence[int] = (5, 5, 3, 3),
        quantizer_dropout: float = 0.0,
    ) -> None:
        check_num_codebooks(num_codebooks)
        _check_levels(levels, 2, channels)
        module = vector_quantize_pytorch().ResidualFSQ(
            levels=list(levels), num_quantizers=num_codebooks
        )
        super().__init__(channels, len(levels), module, quantizer_dropout)

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """Entries per codebook: (V,) * K."""
        return (self.module.codebook_size,) * self.module.num_quantizers

    def codebooks(self) -> list[Tensor]:
        """All rows of levels, on the scale of every stage."""
        return [
            layer.implicit_codebook * scale
            for layer, scale in zip(
                self.module.layers, self.module.scales, strict=True
            )
        ]

    def bounded(self, values: Tensor) -> Tensor:
        """Values (frame, D) that are softly kept where there are levels."""
        limit = self.module.soft_clamp_input_value
        return (values / limit).tanh() * limit

    def stage_codes(
        self, stage: int, residual: Tensor, entries: Tensor
    ) -> Tensor:
        """Codes of the levels that values (frame, D) are rounded to."""
        scaled = residual / self.module.scales[stage]
        return _rounded_codes(self.module.layers[stage], scaled)

    def learnt_values(self, values: Tensor, num_codebooks: int) -> LearntValues:
        """Run the module in training mode on values (frame, D)."""
        with first_stages(self.module, "layers", num_codebooks):
            quantized, codes = self.module(values.unsqueeze(0))
        return LearntValues(quantized[0], codes[0])


def _rounded_codes(layer: torch.nn.Module, values: Tensor) -> Tensor:
    """Codes of an FSQ layer; halfway between two levels is rounded up."""
    return layer.codes_to_indices(layer.quantize(values + TIE))


def _check_levels(levels: Sequence[int], least: int, channels: int) -> None:
    for number in levels:
        check_integer("levels", number, least)
    if not 1 <= len(levels) <= channels or prod(levels) > LARGEST_CODEBOOK:
        raise ConfigurationError(
            "levels",
            list(levels),
            f"1 to {channels} numbers with a product of at most "
            f"{LARGEST_CODEBOOK}",
        )
