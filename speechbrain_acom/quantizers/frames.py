"""Quantizers that code every frame on its own: padding, once for all."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from speechbrain_acom.lengths import frame_mask
from speechbrain_acom.quantizers.contract import Quantizer, QuantizerResult


@dataclass
class QuantizedFrames:
    """What a quantizer gives for frames without padding.

    Arguments
    ---------
    features : Tensor
        Quantized frames, shape (frame, channel). Their gradient passes
        straight through to the input.
    codes : Tensor
        Indices, int64, shape (frame, k).
    losses : Mapping[str, Tensor]
        Scalar losses by name, each a mean over frames; 0 of no frames.
    statistics : Mapping[str, Tensor]
        Detached scalars worth logging, by name.
    rate : Tensor | None
        Expected bits a frame, as in the quantizer's result.
    """

    features: Tensor
    codes: Tensor
    losses: Mapping[str, Tensor] = field(default_factory=dict)
    statistics: Mapping[str, Tensor] = field(default_factory=dict)
    rate: Tensor | None = None


class FrameQuantizer(Quantizer):
    """Takes padding and precision off the hands of a quantizer.

    Subclasses implement :meth:`quantize_frames`, :meth:`encode_frames` and
    :meth:`decode`. They are given real frames only, (frame, channel), in
    single or double precision whatever automatic mixed precision says, and
    there may be none of them.

    Those whose codes depend on earlier codes implement :meth:`quantize_real`
    and :meth:`encode_real` as well, which know where utterances begin.
    """

    @abstractmethod
    def quantize_frames(
        self, frames: Tensor, num_codebooks: int | None
    ) -> QuantizedFrames:
        """Quantize frames (frame, channel); in training mode also adapt.

        ``num_codebooks`` has been checked; None: as in :meth:`forward`.

        In evaluation mode nobody reads the features of the result: what the
        cloud half would decode from the codes takes their place.
        """

    @abstractmethod
    def encode_frames(self, frames: Tensor, num_codebooks: int) -> Tensor:
        """The first codes, int64, (frame, num_codebooks), of every frame.

        The codes of a frame must not depend on the other frames.
        """

    def quantize_real(
        self, real: "RealFrames", num_codebooks: int | None
    ) -> QuantizedFrames:
        """As :meth:`quantize_frames`, of frames that know their batch."""
        return self.quantize_frames(real.values, num_codebooks)

    def encode_real(self, real: "RealFrames", num_codebooks: int) -> Tensor:
        """As :meth:`encode_frames`, of frames that know their batch."""
        return self.encode_frames(real.values, num_codebooks)

    def forward(
        self,
        features: Tensor,
        lengths: Tensor | None = None,
        num_codebooks: int | None = None,
    ) -> QuantizerResult:
        """Quantize a padded batch; in training mode also adapt to it.

        Arguments
        ---------
        features : Tensor
            Shape (batch, time, channel), any floating type.
        lengths : Tensor | None
            Relative lengths in [0, 1], shape (batch,). None: no padding.
        num_codebooks : int | None
            Codebooks to use; see the contract.

        Returns
        -------
        QuantizerResult
            Features (batch, time, channel), zero at padded frames; codes
            (batch, time, k).
        """
        if num_codebooks is not None:
            self.checked_num_codebooks(num_codebooks)
        with torch.autocast(features.device.type, enabled=False):
            real = RealFrames.of(features, lengths)
            result = self.quantize_real(real, num_codebooks)
            codes = real.padded(result.codes)
            if self.training:
                quantized = real.padded(result.features)
            else:
                # The way of the cloud half, so that both agree to the bit.
                quantized = real.zero_padding(self.decode(codes))
        return QuantizerResult(
            quantized, codes, result.losses, result.statistics, result.rate
        )

    @torch.no_grad()
    def encode(
        self,
        features: Tensor,
        lengths: Tensor | None = None,
        num_codebooks: int | None = None,
    ) -> Tensor:
        """Codes, int64, shape (batch, time, k); see the contract."""
        count = self.checked_num_codebooks(num_codebooks)
        with torch.autocast(features.device.type, enabled=False):
            real = RealFrames.of(features, lengths)
            return real.padded(self.encode_real(real, count))


@dataclass
class RealFrames:
    """The real frames of a padded batch, and the way back.

    Arguments
    ---------
    values : Tensor
        Shape (frame, channel), at least single precision.
    shape : torch.Size
        (batch, time) of the padded batch.
    mask : Tensor | None
        True where a frame is real, shape (batch, time). None: everywhere.

    Example
    -------
    >>> batch = torch.arange(4.0).reshape(2, 2, 1)
    >>> real = RealFrames.of(batch, torch.tensor([0.5, 1.0]))
    >>> real.values.flatten().tolist()
    [0.0, 2.0, 3.0]
    >>> real.padded(real.values + 1).flatten().tolist()
    [1.0, 0.0, 3.0, 4.0]
    """

    values: Tensor
    shape: torch.Size
    mask: Tensor | None

    @classmethod
    def of(cls, features: Tensor, lengths: Tensor | None) -> "RealFrames":
        """Take the real frames out of features (batch, time, channel)."""
        shape = features.shape[:2]
        if features.dtype != torch.float64:
            features = features.float()
        if lengths is not None:
            mask = frame_mask(lengths, features)
            # Without padding a view will do: copies are what costs here.
            if not mask.all():
                return cls(features[mask], shape, mask)
        return cls(features.flatten(0, 1), shape, None)

    def taken(self, batch: Tensor) -> Tensor:
        """The real frames (frame, ...) of a batch (batch, time, ...)."""
        return batch.flatten(0, 1) if self.mask is None else batch[self.mask]

    def padded(self, values: Tensor) -> Tensor:
        """Put values (frame, size) back into a batch, zero elsewhere."""
        if self.mask is None:
            return values.unflatten(0, self.shape)
        batch = values.new_zeros((*self.shape, values.shape[-1]))
        batch[self.mask] = values
        return batch

    def zero_padding(self, batch: Tensor) -> Tensor:
        """A batch (batch, time, size) with zeros at padded frames."""
        if self.mask is None:
            return batch
        return batch.masked_fill(~self.mask.unsqueeze(-1), 0.0)
