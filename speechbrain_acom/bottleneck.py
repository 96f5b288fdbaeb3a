"""What stands in the cut: merge, quantizer and expansion as one module."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from speechbrain_acom.lengths import frame_mask
from speechbrain_acom.merge import FrameMerge
from speechbrain_acom.quantizers.contract import Quantizer


@dataclass
class BottleneckResult:
    """What happened in the cut.

    Arguments
    ---------
    features : Tensor
        What the cloud half reads, shape (batch, frame, channel).
    codes : Tensor
        Indices, int64, shape (batch, code frame, K), where the number of
        code frames is ceil(frame / merge); 0 where a frame is padding.
    code_lengths : Tensor
        Relative lengths of the codes, shape (batch,).
    losses : Mapping[str, Tensor]
        The quantizer's scalar losses by name.
    statistics : Mapping[str, Tensor]
        The quantizer's scalars worth logging, by name.
    """

    features: Tensor
    codes: Tensor
    code_lengths: Tensor
    losses: Mapping[str, Tensor] = field(default_factory=dict)
    statistics: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def loss(self) -> Tensor:
        """Sum of the losses, a scalar; it is what β weighs."""
        total = torch.zeros((), device=self.features.device)
        return sum(self.losses.values(), total)


class Bottleneck(torch.nn.Module):
    """Merge frames, quantize them and expand them again.

    In evaluation mode, ``decode(encode(features), num_frames)`` equals the
    features of ``forward``, bit for bit, on real frames. At padded frames
    the features are zero, except that a bypass without merging changes
    nothing at all, so that the split model equals the unsplit one.

    Arguments
    ---------
    channels : int
        Size of the last axis of the features at the cut.
    quantizer : Callable[..., Quantizer]
        Called with ``channels=channels``; a fragment of
        ``hparams/quantizers`` in YAML.
    merge : int
        Frames that become one code frame. Larger: proportionally fewer bits,
        coarser time.
    merge_mode : str
        "average" or "projection", see
        :class:`~speechbrain_acom.merge.FrameMerge`.

    Raises
    ------
    ConfigurationError
        If ``merge`` or ``merge_mode`` is out of its range.

    Example
    -------
    >>> from speechbrain_acom.quantizers import Bypass
    >>> bottleneck = Bottleneck(channels=4, quantizer=Bypass, merge=2)
    >>> result = bottleneck.eval()(torch.randn(2, 5, 4), torch.ones(2))
    >>> result.features.shape, result.codes.shape
    (torch.Size([2, 5, 4]), torch.Size([2, 3, 16]))
    """

    def __init__(
        self,
        channels: int,
        quantizer: Callable[..., Quantizer],
        merge: int = 1,
        merge_mode: str = "average",
    ) -> None:
        super().__init__()
        self.channels = channels
        self.merge = FrameMerge(channels, merge, merge_mode)
        self.quantizer = quantizer(channels=channels)

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """Entries per codebook, coarse to fine: (V_1, ..., V_K)."""
        return self.quantizer.cardinalities

    def forward(
        self, features: Tensor, lengths: Tensor | None = None
    ) -> BottleneckResult:
        """Quantize the features at the cut, without the coder.

        Arguments
        ---------
        features : Tensor
            Shape (batch, frame, channel).
        lengths : Tensor | None
            Relative lengths in [0, 1], shape (batch,). None: no padding.

        Returns
        -------
        BottleneckResult
            Features of the input's shape, codes, losses and statistics.
        """
        merged, merged_lengths = self.merged(features, lengths)
        quantized = self.quantizer(merged, merged_lengths)
        expanded = self.merge.expand(quantized.features, features.shape[1])
        if self.merge.factor > 1:
            padding = ~frame_mask(lengths, features)
            expanded = expanded.masked_fill(padding.unsqueeze(-1), 0.0)
        return BottleneckResult(
            expanded,
            quantized.codes,
            merged_lengths,
            quantized.losses,
            quantized.statistics,
        )

    def encode(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Device side: codes of features, shapes as in :meth:`forward`.

        Returns
        -------
        Tensor
            Codes, int64, shape (batch, code frame, K).
        """
        return self.quantizer.encode(*self.merged(features, lengths))

    def decode(self, codes: Tensor, num_frames: int) -> Tensor:
        """Cloud side: features of codes.

        Arguments
        ---------
        codes : Tensor
            Shape (batch, code frame, K).
        num_frames : int
            Frames at the cut, before merging.

        Returns
        -------
        Tensor
            Shape (batch, num_frames, channel).

        Raises
        ------
        AcomError
            If ``num_frames`` frames do not merge into that many code frames.
        """
        return self.merge.expand(self.quantizer.decode(codes), num_frames)

    def merged(
        self, features: Tensor, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Merge features: what the quantizer reads.

        Returns
        -------
        tuple[Tensor, Tensor]
            Values (batch, code frame, channel), relative lengths (batch,).
        """
        return self.merge.merge(features, lengths)

    def code_frames(self, num_frames: int) -> int:
        """Code frames of ``num_frames`` frames: ceil(num_frames / merge)."""
        return self.merge.merged_frames(num_frames)

    def initialize(self, frames: Tensor) -> None:
        """Start the quantizer from data; called once before training.

        Arguments
        ---------
        frames : Tensor
            Real frames that :meth:`merged` gave, shape (frame, channel).
        """
        self.quantizer.initialize(frames)

    def device_only_modules(self) -> list[str]:
        """Paths of modules with weights that only the device half needs."""
        return self._existing(
            "merge.projection",
            *(f"quantizer.{name}" for name in self.quantizer.device_only),
        )

    def cloud_only_modules(self) -> list[str]:
        """Paths of modules with weights that only the cloud half needs."""
        return self._existing(
            "merge.expansion",
            *(f"quantizer.{name}" for name in self.quantizer.cloud_only),
        )

    def _existing(self, *names: str) -> list[str]:
        """Those of the submodules that are there and hold weights."""
        present = dict(self.named_modules())
        return [
            name
            for name in names
            if name in present and present[name].state_dict()
        ]
