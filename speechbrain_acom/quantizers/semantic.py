"""Residual vector quantizers that keep what a second encoder knows.

Reconstructing features says little about which of them matter. X-Codec (Ye
et al., "Codec Does Matter", arXiv 2408.17175, section 3) lets the codes
reconstruct the features of a second, frozen encoder as well. That encoder
either runs on the device and is coded together with the features
(:class:`SemanticResidualVectorQuantizer`, X-Codec's way), or gives targets in
training only (:class:`TaughtResidualVectorQuantizer`): then it is a later
layer of the model that is cut, and the device computes nothing more.
"""

from typing import Any

import torch
from torch import Tensor

from speechbrain_acom.errors import ConfigurationError
from speechbrain_acom.lengths import frame_mask
from speechbrain_acom.processes import (
    copy_from_first_process,
    sum_over_processes,
)
from speechbrain_acom.quantizers.frames import FrameQuantizer, QuantizedFrames
from speechbrain_acom.quantizers.residual import ResidualVectorQuantizer
from speechbrain_acom.quantizers.settings import check_integer, check_weight

# Variance of a channel, relative to its mean square, that is rounding only.
CONSTANT = 1e-9


class ChannelStatistics(torch.nn.Module):
    """Mean and standard deviation of every channel over all frames seen.

    Before the first frame they are 0 and 1.

    Arguments
    ---------
    channels : int
        Size of a frame.

    Example
    -------
    >>> statistics = ChannelStatistics(2)
    >>> statistics.observe(torch.tensor([[1.0, 5.0], [3.0, 5.0]]))
    >>> statistics.normalized(torch.tensor([[4.0, 5.0]])).tolist()
    [[2.0, 0.0]]
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("frames", torch.zeros((), dtype=torch.float64))
        for name in ("sums", "squares"):
            sums = torch.zeros(channels, dtype=torch.float64)
            self.register_buffer(name, sums)

    @torch.no_grad()
    def observe(self, frames: Tensor) -> None:
        """Count frames (frame, channel) of every process."""
        frames = frames.double()
        number = frames.new_tensor([len(frames)])
        news = torch.cat([number, frames.sum(0), frames.square().sum(0)])
        number, sums, squares = sum_over_processes(news).split(
            [1, len(self.sums), len(self.sums)]
        )
        self.frames += number[0]
        self.sums += sums
        self.squares += squares

    @property
    def mean(self) -> Tensor:
        """Mean of every channel, float64, shape (channel,)."""
        return self.sums / self.frames.clamp(min=1.0)

    @property
    def deviation(self) -> Tensor:
        """Standard deviations, float64, (channel,); 0 of a constant one."""
        energy = self.squares / self.frames.clamp(min=1.0)
        variance = energy - self.mean.square()
        varies = variance > CONSTANT * energy
        deviation = torch.where(varies, variance, 0.0).sqrt()
        return torch.where(self.frames > 0, deviation, 1.0)

    def normalized(self, values: Tensor) -> Tensor:
        """Values (..., channel) with mean 0 and variance 1, float64.

        Constant channels become 0.
        """
        deviation = self.deviation
        scale = torch.where(deviation > 0, 1.0 / deviation, 0.0)
        return (values.double() - self.mean) * scale

    def restored(self, values: Tensor) -> Tensor:
        """The inverse of :meth:`normalized`, float64."""
        return values.double() * self.deviation + self.mean


class SemanticResidualVectorQuantizer(FrameQuantizer):
    """Codes features and a second encoder's features together.

    The last channels are the second encoder's. They are brought to mean 0
    and variance 1 each, by the statistics of the frames that :meth:`initialize`
    is given, and scaled so that all of them together vary as much as the
    features do. A :class:`ResidualVectorQuantizer` then codes both side by
    side: its input projection mixes them, its output projection gives both
    back. The cloud half needs the features only.

    Beside the losses of that quantizer there is "semantic",
    ``semantic_weight`` times the mean squared error of the second encoder's
    features, normalized as above, so that the weight means the same for any
    encoder: reconstructing nothing costs 1 per unit of weight.

    Arguments
    ---------
    channels : int
        Size of a frame: features and the second encoder's features.
    semantic_channels : int
        S, how many of the channels, the last ones, are the second encoder's.
    semantic_weight : float
        Weight of the semantic loss beside the codebook loss.
    **residual
        Arguments of :class:`ResidualVectorQuantizer`.

    Raises
    ------
    ConfigurationError
        If one of these is out of its range.

    Example
    -------
    >>> quantizer = SemanticResidualVectorQuantizer(
    ...     channels=12, semantic_channels=4, codebook_dim=6
    ... )
    >>> quantizer.initialize(torch.randn(1000, 12))
    >>> sorted(quantizer(torch.randn(2, 5, 12)).losses)
    ['codebook', 'commitment', 'semantic']
    """

    def __init__(
        self,
        channels: int,
        semantic_channels: int,
        semantic_weight: float = 10.0,
        **residual: Any,
    ) -> None:
        super().__init__(channels)
        check_integer("semantic_channels", semantic_channels, 1, channels - 1)
        check_weight("semantic_weight", semantic_weight)
        self.semantic_channels = semantic_channels
        self.semantic_weight = semantic_weight
        self.statistics = ChannelStatistics(semantic_channels)
        # Standard deviation that a normalized channel is given.
        self.register_buffer("balance", torch.ones((), dtype=torch.float64))
        self.quantizer = ResidualVectorQuantizer(channels, **residual)

    @property
    def device_only(self) -> tuple[str, ...]:
        """Those of the quantizer inside."""
        return tuple(f"quantizer.{name}" for name in self.quantizer.device_only)

    @property
    def cloud_only(self) -> tuple[str, ...]:
        """Those of the quantizer inside."""
        return tuple(f"quantizer.{name}" for name in self.quantizer.cloud_only)

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """Entries per codebook: (V,) * K."""
        return self.quantizer.cardinalities

    @property
    def truncatable(self) -> bool:
        """True: the first k codes decode to a coarser version."""
        return self.quantizer.truncatable

    def quantize_frames(
        self, frames: Tensor, num_codebooks: int | None
    ) -> QuantizedFrames:
        """Quantize frames (frame, channel); in training mode also adapt."""
        balanced = self._balanced(frames)
        result = self.quantizer.quantize_frames(balanced, num_codebooks)
        quantized = result.features
        if not self.training:
            quantized = self.quantizer.decode(result.codes.unsqueeze(0))[0]
        error = self._parts(quantized - balanced.detach())[1] / self.balance
        semantic = self.semantic_weight * _mean_square(error)
        return QuantizedFrames(
            self._restored(quantized),
            result.codes,
            {**result.losses, "semantic": semantic},
            result.statistics,
        )

    def encode_frames(self, frames: Tensor, num_codebooks: int) -> Tensor:
        """The first codes, int64, (frame, num_codebooks), of every frame."""
        balanced = self._balanced(frames)
        return self.quantizer.encode_frames(balanced, num_codebooks)

    def decode(self, codes: Tensor) -> Tensor:
        """Features and the second encoder's features of codes.

        Arguments
        ---------
        codes : Tensor
            Shape (batch, time, k), 1 <= k <= K.

        Returns
        -------
        Tensor
            float32, shape (batch, time, channel).
        """
        return self._restored(self.quantizer.decode(codes))

    @torch.no_grad()
    def initialize(self, frames: Tensor) -> None:
        """Learn the second encoder's statistics and start the codebooks.

        Arguments
        ---------
        frames : Tensor
            Real frames, shape (frame, channel).

        Raises
        ------
        DataError
            If there is no frame.
        """
        features, semantics = self._parts(frames.double())
        self.statistics.observe(semantics)
        power = features.var(0, correction=0).sum() / self.semantic_channels
        self.balance.copy_(torch.where(power > 0, power.sqrt(), 1.0))
        copy_from_first_process(self.balance)
        self.quantizer.initialize(self._balanced(frames))

    def _parts(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Features and second encoder's features of (..., channel)."""
        own = self.channels - self.semantic_channels
        return frames[..., :own], frames[..., own:]

    def _balanced(self, frames: Tensor) -> Tensor:
        """What the quantizer inside reads, float64."""
        features, semantics = self._parts(frames)
        semantics = self.statistics.normalized(semantics) * self.balance
        return torch.cat([features.double(), semantics], dim=-1)

    def _restored(self, balanced: Tensor) -> Tensor:
        """The inverse of :meth:`_balanced`, float32."""
        features, semantics = self._parts(balanced)
        semantics = self.statistics.restored(semantics / self.balance)
        return torch.cat([features, semantics.float()], dim=-1)


class TaughtResidualVectorQuantizer(ResidualVectorQuantizer):
    """Learns to keep what a later layer of the continuous model would see.

    In training a teacher, the continuous model as it was before it was cut,
    gives the output of its last layer before the head
    (:class:`~speechbrain_acom.training.teacher.Teacher`). A linear head
    predicts it from the decoded features, and the loss "semantic" is
    ``semantic_weight`` times the mean squared error of the prediction, over
    real frames and channels. Targets are brought to mean 0 and variance 1 by
    the statistics of all targets seen so far, so that the weight means the
    same for any model: predicting nothing costs 1 per unit of weight.

    Neither half of the trained model holds the head, the statistics or the
    teacher, and device and cloud compute what they compute with a
    :class:`ResidualVectorQuantizer`. Outside of a split there is no teacher,
    and this is one.

    Arguments
    ---------
    channels : int
        Size of the last axis of the features.
    semantic_weight : float
        Weight of the semantic loss beside the codebook loss.
    **residual
        Arguments of :class:`ResidualVectorQuantizer`.

    Raises
    ------
    ConfigurationError
        If one of these is out of its range.

    Example
    -------
    >>> quantizer = TaughtResidualVectorQuantizer(channels=8, codebook_dim=4)
    >>> quantizer.learn_from(target_channels=3)
    >>> features, lengths = torch.randn(2, 5, 8), torch.tensor([1.0, 0.4])
    >>> decoded = quantizer(features, lengths).features
    >>> target = torch.randn(2, 5, 3)
    >>> sorted(quantizer.target_losses(decoded, target, lengths))
    ['semantic']
    """

    training_only = ("semantic_head", "target_statistics")

    def __init__(
        self, channels: int, semantic_weight: float = 10.0, **residual: Any
    ) -> None:
        super().__init__(channels, **residual)
        check_weight("semantic_weight", semantic_weight)
        self.semantic_weight = semantic_weight

    @property
    def taught(self) -> bool:
        """True: training needs a teacher."""
        return True

    def learn_from(self, target_channels: int) -> None:
        """Make the head; the split calls this, once it knows the teacher."""
        if target_channels < 1:
            raise ConfigurationError(
                "quantizer",
                type(self).__name__,
                "a quantizer without teacher: this model's cloud half has no "
                "`hidden` features to learn from",
            )
        self.semantic_head = torch.nn.Linear(self.channels, target_channels)
        self.target_statistics = ChannelStatistics(target_channels)

    def target_losses(
        self, features: Tensor, target: Tensor, lengths: Tensor | None
    ) -> dict[str, Tensor]:
        """How far the prediction of the target is off, real frames only.

        Arguments
        ---------
        features : Tensor
            What the cloud half reads, shape (batch, frame, channel).
        target : Tensor
            The teacher's, shape (batch, frame, target channel).
        lengths : Tensor | None
            Relative lengths of both, shape (batch,). None: no padding.

        Returns
        -------
        dict[str, Tensor]
            "semantic", a scalar.
        """
        mask = frame_mask(lengths, features)
        features, target = features[mask].float(), target[mask].detach()
        if self.training:
            self.target_statistics.observe(target)
        target = self.target_statistics.normalized(target).float()
        with torch.autocast(features.device.type, enabled=False):
            error = self.semantic_head(features) - target
        return {"semantic": self.semantic_weight * _mean_square(error)}


def _mean_square(error: Tensor) -> Tensor:
    """Mean over frames and channels, float32; 0 of no frames."""
    return (error.square().sum() / max(error.numel(), 1)).float()
