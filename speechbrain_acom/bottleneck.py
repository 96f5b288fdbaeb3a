"""What stands in the cut: merge, quantizer and expansion as one module."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from speechbrain_acom.entropy.framing import Framing
from speechbrain_acom.lengths import frame_mask
from speechbrain_acom.merges import MergeStream, frame_merge
from speechbrain_acom.quantizers.contract import Quantizer


@dataclass
class BottleneckResult:
    """What happened in the cut.

    Arguments
    ---------
    features : Tensor
        What the cloud half reads, shape (batch, frame, channel).
    codes : Tensor
        Indices, int64, shape (batch, code frame, K): those of the codebooks,
        after the run lengths where the merge has them; 0 where a frame is
        padding. There are ceil(frame / merge) code frames, or as many as
        there are runs.
    code_lengths : Tensor
        Relative lengths of the codes, shape (batch,).
    losses : Mapping[str, Tensor]
        The quantizer's scalar losses by name.
    statistics : Mapping[str, Tensor]
        The merge's and the quantizer's scalars worth logging, by name.
    rate : Tensor | None
        Expected bits a code frame, a scalar with a gradient, without those
        of run lengths; λ weighs it. None where the quantizer has none.
    """

    features: Tensor
    codes: Tensor
    code_lengths: Tensor
    losses: Mapping[str, Tensor] = field(default_factory=dict)
    statistics: Mapping[str, Tensor] = field(default_factory=dict)
    rate: Tensor | None = None

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
        "average", "projection", "causal" or "similar", see
        :func:`~speechbrain_acom.merges.frame_merge`. With "similar" a code
        frame is a run of like frames, ``merge`` on average.
    longest_run : int | None
        With "similar", the frames of a run at most; None: 4 * merge. Larger:
        fewer codes for silence, more for everything else.

    Raises
    ------
    ConfigurationError
        If ``merge``, ``merge_mode`` or ``longest_run`` is out of its range.

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
        longest_run: int | None = None,
    ) -> None:
        super().__init__()
        self.channels = channels
        self.merge = frame_merge(channels, merge, merge_mode, longest_run)
        self.quantizer = quantizer(channels=channels)

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """Entries of every column of the codes.

        The longest run, where run lengths are coded, then the codebooks,
        coarse to fine: (V_1, ..., V_K).
        """
        return self.merge.cardinalities + self.quantizer.cardinalities

    @property
    def framing(self) -> Framing:
        """How many frames at the cut every frame of codes covers."""
        return self.merge.framing

    def forward(
        self,
        features: Tensor,
        lengths: Tensor | None = None,
        num_codebooks: int | None = None,
    ) -> BottleneckResult:
        """Quantize the features at the cut, without the coder.

        Arguments
        ---------
        features : Tensor
            Shape (batch, frame, channel).
        lengths : Tensor | None
            Relative lengths in [0, 1], shape (batch,). None: no padding.
        num_codebooks : int | None
            k: use only the first k codebooks, see the quantizer's contract.

        Returns
        -------
        BottleneckResult
            Features of the input's shape, codes, losses and statistics.

        Raises
        ------
        ConfigurationError
            If the quantizer has no such k.
        """
        merged = self.merge.merge(features, lengths)
        quantized = self.quantizer(merged.values, merged.lengths, num_codebooks)
        expanded = self.merge.expand(
            quantized.features, merged.codes, features.shape[1]
        )
        if self.merge.factor > 1:
            padding = ~frame_mask(lengths, features)
            expanded = expanded.masked_fill(padding.unsqueeze(-1), 0.0)
        return BottleneckResult(
            expanded,
            torch.cat([merged.codes, quantized.codes], dim=-1),
            merged.lengths,
            quantized.losses,
            {**merged.statistics, **quantized.statistics},
            quantized.rate,
        )

    @torch.no_grad()
    def encode(
        self,
        features: Tensor,
        lengths: Tensor | None = None,
        num_codebooks: int | None = None,
    ) -> Tensor:
        """Device side: codes of features, arguments as for :meth:`forward`.

        Returns
        -------
        Tensor
            Codes, int64, shape (batch, code frame, K), or fewer columns where
            only the first codebooks are used.

        Raises
        ------
        ConfigurationError
            If the quantizer has no such k.
        """
        merged = self.merge.merge(features, lengths)
        codes = self.quantizer.encode(
            merged.values, merged.lengths, num_codebooks
        )
        return torch.cat([merged.codes, codes], dim=-1)

    def stream(self, num_codebooks: int | None = None) -> "BottleneckStream":
        """Device side: code the frames of a recording as they come.

        Arguments
        ---------
        num_codebooks : int | None
            As for :meth:`encode`.

        Returns
        -------
        BottleneckStream
            It stands before the first frame.

        Raises
        ------
        ConfigurationError
            If the quantizer has no such k, or the merge has to see the
            recording as a whole.
        """
        return BottleneckStream(
            self.merge.stream(), self.quantizer.stream(num_codebooks)
        )

    def decode(self, codes: Tensor, num_frames: int) -> Tensor:
        """Cloud side: features of codes.

        Arguments
        ---------
        codes : Tensor
            Shape (batch, code frame, K), or fewer columns where only the
            first codebooks were used.
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
        runs = self.framing.run_columns
        values = self.quantizer.decode(codes[..., runs:])
        return self.merge.expand(values, codes[..., :runs], num_frames)

    def merged(
        self, features: Tensor, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Merge features: what the quantizer reads.

        Returns
        -------
        tuple[Tensor, Tensor]
            Values (batch, code frame, channel), relative lengths (batch,).
        """
        merged = self.merge.merge(features, lengths)
        return merged.values, merged.lengths

    def calibrate(
        self, batches: Iterable[tuple[Tensor, Tensor | None]]
    ) -> None:
        """Adapt the merge to data, before :meth:`initialize` and after epochs.

        Arguments
        ---------
        batches : Iterable[tuple[Tensor, Tensor | None]]
            Features and lengths as for :meth:`forward`; only as many batches
            are taken as are needed.
        """
        self.merge.calibrate(batches)

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
            *(f"merge.{name}" for name in self.merge.device_only),
            *(f"quantizer.{name}" for name in self.quantizer.device_only),
        )

    def cloud_only_modules(self) -> list[str]:
        """Paths of modules with weights that only the cloud half needs."""
        return self._existing(
            *(f"merge.{name}" for name in self.merge.cloud_only),
            *(f"quantizer.{name}" for name in self.quantizer.cloud_only),
        )

    def training_only_modules(self) -> list[str]:
        """Paths of modules with weights that neither half needs."""
        return self._existing(
            *(f"quantizer.{name}" for name in self.quantizer.training_only)
        )

    def _existing(self, *names: str) -> list[str]:
        """Those of the submodules that are there and hold weights."""
        present = dict(self.named_modules())
        return [
            name
            for name in names
            if name in present and present[name].state_dict()
        ]


class BottleneckStream:
    """Codes the frames of one recording as they come.

    Arguments
    ---------
    merge : MergeStream
        Merges them.
    code : Callable[[Tensor], Tensor]
        Merged frames (1, code frame, channel) to codes (1, code frame, k).

    Example
    -------
    >>> from speechbrain_acom.quantizers import Bypass
    >>> bottleneck = Bottleneck(channels=4, quantizer=Bypass, merge=2)
    >>> stream = bottleneck.stream()
    >>> stream.push(torch.randn(1, 5, 4)).shape
    torch.Size([1, 2, 16])
    >>> stream.finish(torch.randn(1, 0, 4)).shape
    torch.Size([1, 1, 16])
    """

    def __init__(
        self, merge: MergeStream, code: Callable[[Tensor], Tensor]
    ) -> None:
        self._merge = merge
        self._code = code

    @torch.no_grad()
    def push(self, features: Tensor) -> Tensor:
        """Codes that are certain by now, (1, code frame, k).

        Arguments
        ---------
        features : Tensor
            Shape (1, frame, channel).
        """
        return self._code(self._merge.push(features))

    @torch.no_grad()
    def finish(self, features: Tensor) -> Tensor:
        """As :meth:`push`, of the last frames: all codes that are left."""
        return self._code(self._merge.finish(features))
