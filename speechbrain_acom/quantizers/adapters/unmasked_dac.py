"""SpeechBrain's DAC quantizer as the paper's authors train it, for comparison."""

from typing import Any

import torch
from torch import Tensor

from speechbrain_acom.quantizers.adapters.dac import AdaptedDAC
from speechbrain_acom.quantizers.contract import QuantizerResult
from speechbrain_acom.quantizers.distortion import relative_error
from speechbrain_acom.quantizers.dropout import used_num_codebooks


class UnmaskedDAC(AdaptedDAC):
    """What the authors' public code does in training, mistakes and all.

    To be compared with, not to be used: padded frames count in the losses as
    real ones do, losses are summed over the batch, so that β means something
    else at any batch size, and codebooks start at random. Codes, features and
    messages are those of :class:`AdaptedDAC`.

    Arguments
    ---------
    channels : int
        Size of the last axis of the features.
    **settings
        As for :class:`AdaptedDAC`; by default both losses weigh the same.

    Raises
    ------
    ConfigurationError
        As :class:`AdaptedDAC`.

    Example
    -------
    >>> quantizer = UnmaskedDAC(channels=16)
    >>> quantizer(torch.randn(2, 5, 16), torch.tensor([1.0, 0.4])).codes.shape
    torch.Size([2, 5, 1])
    """

    def __init__(
        self, channels: int, commitment_weight: float = 1.0, **settings: Any
    ) -> None:
        super().__init__(
            channels, commitment_weight=commitment_weight, **settings
        )

    def forward(
        self,
        features: Tensor,
        lengths: Tensor | None = None,
        num_codebooks: int | None = None,
    ) -> QuantizerResult:
        """Quantize a padded batch; in training mode padding is data."""
        if not self.training:
            return super().forward(features, lengths, num_codebooks)
        count = used_num_codebooks(self, num_codebooks)
        batch, frames, _ = features.shape
        # In one go: the module takes means over all that it is given.
        learnt = self.learnt_frames(features.flatten(0, 1).float(), count)
        quantized = learnt.features.unflatten(0, (batch, frames))
        summed = {
            name: batch * count * loss for name, loss in learnt.losses.items()
        }
        return QuantizerResult(
            quantized,
            learnt.codes.unflatten(0, (batch, frames)),
            summed,
            {"distortion": relative_error(features, quantized)},
        )

    @torch.no_grad()
    def initialize(self, frames: Tensor) -> None:
        """Nothing: entries and layers stay as they were drawn.

        Arguments
        ---------
        frames : Tensor
            As for :meth:`AdaptedDAC.initialize`.
        """
