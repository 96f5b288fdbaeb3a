"""Adapter of SpeechBrain's binary spherical quantizer."""

from speechbrain.lobes.models.bsq import BinarySphericalQuantizer
from torch import Tensor
from torch.nn.functional import normalize

from speechbrain_acom.quantizers.adapters.projected import LearntValues
from speechbrain_acom.quantizers.adapters.signs import (
    SignQuantizer,
    sign_dimensions,
)
from speechbrain_acom.quantizers.settings import check_weight


class AdaptedBSQ(SignQuantizer):
    """SpeechBrain's ``BinarySphericalQuantizer``.

    Linear layers of this package project to D = log2(V) dimensions and back;
    the module codes their signs (Zhao et al., "Image and Video Tokenization
    with Binary Spherical Quantization", 2024).

    Losses: "auxiliary", the module's: the mean entropy of a frame's
    assignment minus that of the batch. It compares every frame with all V
    entries. It may be negative.

    Arguments
    ---------
    channels : int
        Size of the last axis of the features.
    codebook_size : int
        V, a power of two from 2 to 65536, at most 2**channels.
    entropy_weight : float
        Weight of the auxiliary loss.
    diversity_weight : float
        Weight of the batch's entropy relative to that of a frame.

    Raises
    ------
    ConfigurationError
        If one of these is out of its range.

    Example
    -------
    >>> import torch
    >>> quantizer = AdaptedBSQ(channels=16, codebook_size=256)
    >>> result = quantizer(torch.randn(2, 5, 16), torch.tensor([1.0, 0.4]))
    >>> result.codes.shape, sorted(result.losses)
    (torch.Size([2, 5, 1]), ['auxiliary'])
    """

    def __init__(
        self,
        channels: int,
        codebook_size: int = 256,
        entropy_weight: float = 0.1,
        diversity_weight: float = 1.0,
    ) -> None:
        dimension = sign_dimensions(codebook_size, channels)
        check_weight("entropy_weight", entropy_weight)
        check_weight("diversity_weight", diversity_weight)
        module = BinarySphericalQuantizer(
            dimension, entropy_weight, diversity_weight
        )
        super().__init__(channels, dimension, module)

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """Entries of the one codebook: (V,)."""
        return (len(self.module.codebook),)

    def codebooks(self) -> list[Tensor]:
        """Corners of a cube in the unit sphere, shape (V, D)."""
        return [normalize(self.module.codebook, dim=-1)]

    def learnt_values(self, values: Tensor, num_codebooks: int) -> LearntValues:
        """Run the module in training mode on values (frame, D)."""
        quantized, codes, loss = self.module(values.unsqueeze(0))
        return LearntValues(
            quantized[0], codes[0].unsqueeze(-1), {"auxiliary": loss}
        )
