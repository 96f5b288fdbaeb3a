"""Adapters of modules that code the signs of their dimensions."""

import torch
from torch import Tensor

from speechbrain_acom.errors import ConfigurationError
from speechbrain_acom.quantizers.adapters.projected import ProjectedQuantizer
from speechbrain_acom.quantizers.settings import LARGEST_CODEBOOK

# Values start with variance 1. One that is not further above zero than this
# counts as zero: it is where a frame comes to lie that does not vary, up to
# the rounding of a matrix product, which depends on the batch.
TIE = 1e-9


class SignQuantizer(ProjectedQuantizer):
    """A foreign module with 2**D entries a stage, one for each row of signs.

    Losses: "auxiliary", what the module gives.
    """

    loss_names = ("auxiliary",)
    unit_variance = True

    def stage_codes(
        self, stage: int, residual: Tensor, entries: Tensor
    ) -> Tensor:
        """Signs as the bits of a number, the first dimension highest."""
        bits = residual.shape[-1]
        values = 2 ** torch.arange(bits - 1, -1, -1, device=residual.device)
        return ((residual > TIE) * values).sum(-1)


def sign_dimensions(codebook_size: int, channels: int) -> int:
    """D, the number of signs that the entries of a codebook stand for.

    Raises
    ------
    ConfigurationError
        If ``codebook_size`` is not 2**D for a D from 1 to 16, or D is more
        than there are channels.

    Example
    -------
    >>> sign_dimensions(256, channels=512)
    8
    """
    most = min(channels, LARGEST_CODEBOOK.bit_length() - 1)
    sizes = [2**dimension for dimension in range(1, most + 1)]
    if codebook_size not in sizes:
        raise ConfigurationError(
            "codebook_size",
            codebook_size,
            f"a power of two from 2 to {2**most}, a bit a channel",
        )
    return sizes.index(codebook_size) + 1
