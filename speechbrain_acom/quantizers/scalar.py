"""Scalar quantization: every channel rounded on its own, as a floor."""

import torch
from torch import Tensor

from speechbrain_acom.processes import copy_module_from_first_process
from speechbrain_acom.quantizers.distortion import relative_error
from speechbrain_acom.quantizers.frames import FrameQuantizer, QuantizedFrames
from speechbrain_acom.quantizers.gradients import straight_through
from speechbrain_acom.quantizers.settings import check_integer
from speechbrain_acom.quantizers.starts import initial_frames

# Percentiles of a channel that its range starts from, as shares.
LOWEST = 0.001
HIGHEST = 0.999
# A range is at least this part of the values in it, so that single precision
# tells 65536 centres apart; where all values are 0, it is the second figure.
LEAST_RELATIVE_RANGE = 2.0**-6
LEAST_RANGE = 1e-6


class ScalarQuantizer(FrameQuantizer):
    """n bits a channel: what no learned quantizer should be worse than.

    The range of every channel is cut into 2**n cells of equal width, and a
    value becomes the centre of its cell; a value between two cells belongs to
    the upper one, values out of the range to the outermost cells. Nothing is
    learned, there are no losses, and the gradient passes straight through.
    Each channel is a code. The nominal bits of a frame are n * channels.

    The range is taken from data by :meth:`initialize`, from the 0.1st to the
    99.9th percentile of the channel, and is a buffer, so it is saved with the
    model. Until then it is -1 to 1.

    Statistics: "distortion", squared error of the features relative to their
    energy, and "clipped_share" of the values out of the range.

    Arguments
    ---------
    channels : int
        Size of the last axis of the features.
    bits : int
        n, from 1 to 16.

    Raises
    ------
    ConfigurationError
        If ``bits`` is out of its range.

    Example
    -------
    >>> quantizer = ScalarQuantizer(channels=1, bits=2)
    >>> codes = quantizer.encode(torch.tensor([[[-7.0], [-0.2], [0.0]]]))
    >>> codes.flatten().tolist()
    [0, 1, 2]
    >>> quantizer.decode(codes).flatten().tolist()
    [-0.75, -0.25, 0.25]
    """

    def __init__(self, channels: int, bits: int = 4) -> None:
        super().__init__(channels)
        check_integer("bits", bits, 1, 16)
        self.cells = 2**bits
        self.register_buffer("low", torch.full((channels,), -1.0))
        self.register_buffer("high", torch.full((channels,), 1.0))

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """2**n for each channel."""
        return (self.cells,) * self.channels

    def quantize_frames(
        self, frames: Tensor, num_codebooks: int | None
    ) -> QuantizedFrames:
        """Round frames (frame, channel), straight-through."""
        codes = self.encode_frames(frames, self.channels)
        features = straight_through(frames.float(), self.decode(codes))
        statistics = {
            "distortion": relative_error(frames, features),
            "clipped_share": self._clipped_share(frames),
        }
        return QuantizedFrames(features, codes, {}, statistics)

    @torch.no_grad()
    def encode_frames(self, frames: Tensor, num_codebooks: int) -> Tensor:
        """Codes, int64, (frame, channel), of every frame."""
        # Value by value and with correctly rounded operations only: no batch
        # can change a code.
        low = self.low.double()
        cells = (frames.double() - low) / self._width()
        return cells.clamp(0, self.cells - 1).floor().long()

    def decode(self, codes: Tensor) -> Tensor:
        """Features (batch, time, channel), float32, of codes of that shape."""
        centres = codes.double() + 0.5
        return (self.low.double() + centres * self._width()).float()

    @torch.no_grad()
    def initialize(self, frames: Tensor) -> None:
        """Take the range of every channel from data.

        In a distributed training every process must call this; all then start
        from what the first one found.

        Arguments
        ---------
        frames : Tensor
            Real frames, shape (frame, channel); 100 000 random ones of them
            are used where there are more.

        Raises
        ------
        DataError
            If there is no frame.
        """
        frames = initial_frames(frames)
        last = len(frames) - 1
        low = frames.kthvalue(1 + round(LOWEST * last), dim=0).values
        high = frames.kthvalue(1 + round(HIGHEST * last), dim=0).values
        largest = torch.maximum(low.abs(), high.abs())
        least = (LEAST_RELATIVE_RANGE * largest).clamp(min=LEAST_RANGE)
        missing = (least - (high - low)).clamp(min=0.0)
        self.low.copy_(low - missing / 2)
        self.high.copy_(high + missing / 2)
        copy_module_from_first_process(self)

    def _width(self) -> Tensor:
        """Width of a cell, float64, shape (channel,)."""
        return (self.high.double() - self.low.double()) / self.cells

    @torch.no_grad()
    def _clipped_share(self, frames: Tensor) -> Tensor:
        """Share of values out of the range; 0 of no frames."""
        clipped = ((frames < self.low) | (frames > self.high)).sum()
        return clipped.float() / max(frames.numel(), 1)
