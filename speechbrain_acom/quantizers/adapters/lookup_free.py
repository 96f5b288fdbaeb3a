"""Adapter of ResidualLFQ of vector-quantize-pytorch."""

from torch import Tensor

from speechbrain_acom.quantizers.adapters.base import first_stages
from speechbrain_acom.quantizers.adapters.library import (
    vector_quantize_pytorch,
)
from speechbrain_acom.quantizers.adapters.projected import LearntValues
from speechbrain_acom.quantizers.adapters.signs import (
    SignQuantizer,
    sign_dimensions,
)
from speechbrain_acom.quantizers.settings import (
    check_num_codebooks,
    check_weight,
)


class AdaptedLFQ(SignQuantizer):
    """``ResidualLFQ`` of vector-quantize-pytorch; ``LFQ`` at K = 1.

    Linear layers of this package project to D = log2(V) dimensions and back;
    each stage codes the signs of what those before it left over, at half the
    scale of the one before (Yu et al., "Language Model Beats Diffusion", 2023,
    section 3.1).

    Losses: "auxiliary", the library's: the mean entropy of a frame's
    assignment minus that of the batch, which may be negative, plus a
    commitment loss. It compares every frame with all V entries. In a
    distributed training the library divides the batch's assignment by the
    number of processes without adding theirs up, so that the entropy of the
    batch weighs that much less.

    Arguments
    ---------
    channels : int
        Size of the last axis of the features.
    num_codebooks : int
        K, from 1 to 65536.
    codebook_size : int
        V, a power of two from 2 to 65536, at most 2**channels.
    entropy_weight : float
        Weight of both entropies.
    diversity_weight : float
        Weight of the batch's entropy relative to that of a frame.
    commitment_weight : float
        Weight of the squared distance of the values to their entries.
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
    >>> import torch
    >>> quantizer = AdaptedLFQ(channels=16, num_codebooks=2)
    >>> result = quantizer(torch.randn(2, 5, 16), torch.tensor([1.0, 0.4]))
    >>> result.codes.shape, sorted(result.losses)
    (torch.Size([2, 5, 2]), ['auxiliary'])
    """

    def __init__(
        self,
        channels: int,
        num_codebooks: int = 1,
        codebook_size: int = 256,
        entropy_weight: float = 0.1,
        diversity_weight: float = 1.0,
        commitment_weight: float = 0.25,
        quantizer_dropout: float = 0.0,
    ) -> None:
        check_num_codebooks(num_codebooks)
        dimension = sign_dimensions(codebook_size, channels)
        check_weight("entropy_weight", entropy_weight)
        check_weight("diversity_weight", diversity_weight)
        check_weight("commitment_weight", commitment_weight)
        module = vector_quantize_pytorch().ResidualLFQ(
            dim=dimension,
            num_quantizers=num_codebooks,
            codebook_size=codebook_size,
            entropy_loss_weight=entropy_weight,
            diversity_gamma=diversity_weight,
            commitment_loss_weight=commitment_weight,
        )
        super().__init__(channels, dimension, module, quantizer_dropout)

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """Entries per codebook: (V,) * K."""
        return tuple(layer.codebook_size for layer in self.module.layers)

    def codebooks(self) -> list[Tensor]:
        """Corners of a cube, half as large in every stage."""
        return [layer.codebook for layer in self.module.layers]

    def learnt_values(self, values: Tensor, num_codebooks: int) -> LearntValues:
        """Run the module in training mode on values (frame, D)."""
        with first_stages(self.module, "layers", num_codebooks):
            quantized, codes, losses = self.module(values.unsqueeze(0))
        return LearntValues(
            quantized[0], codes[0], {"auxiliary": losses.mean()}
        )
