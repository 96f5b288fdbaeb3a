"""Merging of groups of equally many frames."""

import torch
from torch import Tensor

from speechbrain_acom.entropy.framing import Framing
from speechbrain_acom.errors import AcomError
from speechbrain_acom.lengths import (
    frame_counts,
    frame_mask,
    relative_lengths,
)
from speechbrain_acom.merges.contract import FrameMerge, MergedFrames
from speechbrain_acom.merges.streams import GroupStream, MergeStream
from speechbrain_acom.precision import precise_linear


class FixedMerge(FrameMerge):
    """Merges every r neighbouring frames into one, and expands one into r.

    A merged frame is the mean of the real frames of its group and is expanded
    by repetition; nothing is learned. When learned, a linear layer reads the
    r frames side by side (zeros where a frame is missing) and another one
    writes r frames; they start as averaging and as repetition. A factor of 1
    changes nothing and holds no weights.

    Arguments
    ---------
    channels : int
        Size of the last axis of the features.
    factor : int
        r, the number of frames that become one.
    learned : bool
        Whether linear layers merge and expand.

    Example
    -------
    >>> halve = FixedMerge(channels=1, factor=2)
    >>> frames = torch.tensor([[[1.0], [3.0], [5.0]]])
    >>> merged = halve.merge(frames)
    >>> merged.values.flatten().tolist()
    [2.0, 5.0]
    >>> halve.expand(merged.values, merged.codes, 3).flatten().tolist()
    [2.0, 2.0, 5.0]
    """

    device_only = ("projection",)
    cloud_only = ("expansion",)

    def __init__(
        self, channels: int, factor: int, learned: bool = False
    ) -> None:
        super().__init__(channels, factor)
        self.learned = learned and factor > 1
        if self.learned:
            self.projection = torch.nn.Linear(factor * channels, channels)
            self.expansion = torch.nn.Linear(channels, factor * channels)
            self._start_as_average()

    @property
    def framing(self) -> Framing:
        """Every frame of codes covers r frames, the last one maybe fewer."""
        return Framing(merge=self.factor)

    def merge(
        self, values: Tensor, lengths: Tensor | None = None
    ) -> MergedFrames:
        """Merge groups of r frames; a group with one real frame is real."""
        counts = frame_counts(lengths, values)
        frames = self._merged_frames(values.shape[1])
        # Rounded up like the frames themselves.
        merged_counts = -(-counts // self.factor)
        merged_lengths = relative_lengths(merged_counts, frames)
        codes = counts.new_empty((len(values), frames, 0))
        if self.factor == 1:
            return MergedFrames(values, merged_lengths, codes)
        mask = frame_mask(lengths, values)
        groups, real = self._grouped(values, mask)
        if self.learned:
            merged = precise_linear(self.projection, groups.flatten(2))
            # The bias must not turn padding into something.
            merged = merged.masked_fill(~real.any(2).unsqueeze(-1), 0.0)
        else:
            shares = real.sum(2).clamp(min=1).unsqueeze(-1)
            merged = groups.double().sum(2) / shares
        return MergedFrames(merged.float(), merged_lengths, codes)

    def expand(self, values: Tensor, codes: Tensor, num_frames: int) -> Tensor:
        """Turn every merged frame back into r; see the contract."""
        expected = self._merged_frames(num_frames)
        if values.shape[1] != expected:
            raise AcomError(
                f"frames to expand: found {values.shape[1]}, expected "
                f"{expected} for {num_frames} frames merged by {self.factor}"
            )
        if self.factor == 1:
            return values
        if not self.learned:
            return values.repeat_interleave(self.factor, 1)[:, :num_frames]
        batch, _, channels = values.shape
        expanded = precise_linear(self.expansion, values).float()
        # Not -1: with no frame at all it could not be inferred.
        frames = expected * self.factor
        return expanded.reshape(batch, frames, channels)[:, :num_frames]

    def stream(self) -> MergeStream:
        """Merge frames that come bit by bit, when groups are whole."""
        return GroupStream(
            lambda frames: self.merge(frames).values, self.factor
        )

    def _merged_frames(self, num_frames: int) -> int:
        """Merged frames of ``num_frames`` frames: ceil(num_frames / r)."""
        return -(-num_frames // self.factor)

    def _grouped(self, values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Groups of r frames, zero where not real, and which are real."""
        batch, frames, channels = values.shape
        groups = self._merged_frames(frames)
        missing = groups * self.factor - frames
        values = values.masked_fill(~mask.unsqueeze(-1), 0.0)
        values = torch.nn.functional.pad(values, (0, 0, 0, missing))
        mask = torch.nn.functional.pad(mask, (0, missing))
        return (
            values.reshape(batch, groups, self.factor, channels),
            mask.reshape(batch, groups, self.factor),
        )

    @torch.no_grad()
    def _start_as_average(self) -> None:
        identity = torch.eye(self.projection.out_features)
        self.projection.weight.copy_(identity.repeat(1, self.factor))
        self.projection.weight.div_(self.factor)
        self.projection.bias.zero_()
        self.expansion.weight.copy_(identity.repeat(self.factor, 1))
        self.expansion.bias.zero_()
