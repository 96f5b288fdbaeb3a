"""Several frames merged into one before the quantizer, and back after it."""

import torch
from torch import Tensor

from speechbrain_acom.errors import AcomError, ConfigurationError
from speechbrain_acom.lengths import (
    frame_counts,
    frame_mask,
    relative_lengths,
)
from speechbrain_acom.precision import precise_linear

MODES = ("average", "projection")


class FrameMerge(torch.nn.Module):
    """Merges r neighbouring frames into one, and expands one into r.

    With "average" a merged frame is the mean of the real frames of its group
    and is expanded by repetition; nothing is learned. With "projection" a
    linear layer reads the r frames side by side (zeros where a frame is
    missing) and another one writes r frames; they start as averaging and as
    repetition. A factor of 1 changes nothing and holds no weights.

    Arguments
    ---------
    channels : int
        Size of the last axis of the features.
    factor : int
        r, the number of frames that become one.
    mode : str
        "average" or "projection".

    Raises
    ------
    ConfigurationError
        If ``factor`` is less than 1 or ``mode`` is unknown.

    Example
    -------
    >>> halve = FrameMerge(channels=1, factor=2)
    >>> frames = torch.tensor([[[1.0], [3.0], [5.0]]])
    >>> merged, lengths = halve.merge(frames)
    >>> merged.flatten().tolist()
    [2.0, 5.0]
    >>> halve.expand(merged, num_frames=3).flatten().tolist()
    [2.0, 2.0, 5.0]
    """

    def __init__(
        self, channels: int, factor: int, mode: str = "average"
    ) -> None:
        super().__init__()
        if factor < 1:
            raise ConfigurationError("merge", factor, "an integer >= 1")
        if mode not in MODES:
            raise ConfigurationError("merge_mode", mode, " or ".join(MODES))
        self.factor = factor
        self.learned = mode == "projection" and factor > 1
        if self.learned:
            self.projection = torch.nn.Linear(factor * channels, channels)
            self.expansion = torch.nn.Linear(channels, factor * channels)
            self._start_as_average()

    def merged_frames(self, num_frames: int) -> int:
        """Merged frames of ``num_frames`` frames: ceil(num_frames / r)."""
        return -(-num_frames // self.factor)

    def merge(
        self, values: Tensor, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Merge groups of r frames; padding takes no part.

        Arguments
        ---------
        values : Tensor
            Shape (batch, frame, channel).
        lengths : Tensor | None
            Relative lengths in [0, 1], shape (batch,). None: no padding.

        Returns
        -------
        tuple[Tensor, Tensor]
            Merged values (batch, ceil(frame / r), channel), float32 unless
            r = 1, zero where no frame of a group is real, and their relative
            lengths (batch,).
        """
        counts = frame_counts(lengths, values)
        frames = self.merged_frames(values.shape[1])
        # Rounded up like the frames themselves: a group with one real frame
        # is a real frame.
        merged_counts = -(-counts // self.factor)
        merged_lengths = relative_lengths(merged_counts, frames)
        if self.factor == 1:
            return values, merged_lengths
        mask = frame_mask(lengths, values)
        groups, real = self._grouped(values, mask)
        if self.learned:
            merged = precise_linear(self.projection, groups.flatten(2))
            # The bias must not turn padding into something.
            merged = merged.masked_fill(~real.any(2).unsqueeze(-1), 0.0)
        else:
            shares = real.sum(2).clamp(min=1).unsqueeze(-1)
            merged = groups.double().sum(2) / shares
        return merged.float(), merged_lengths

    def expand(self, merged: Tensor, num_frames: int) -> Tensor:
        """Turn merged frames back into as many frames as there were.

        Arguments
        ---------
        merged : Tensor
            Shape (batch, ceil(num_frames / r), channel).
        num_frames : int
            Frames before merging.

        Returns
        -------
        Tensor
            Shape (batch, num_frames, channel).

        Raises
        ------
        AcomError
            If ``num_frames`` does not belong to that many merged frames.
        """
        expected = self.merged_frames(num_frames)
        if merged.shape[1] != expected:
            raise AcomError(
                f"frames to expand: found {merged.shape[1]}, expected "
                f"{expected} for {num_frames} frames merged by {self.factor}"
            )
        if self.factor == 1:
            return merged
        if not self.learned:
            return merged.repeat_interleave(self.factor, 1)[:, :num_frames]
        batch, _, channels = merged.shape
        expanded = precise_linear(self.expansion, merged).float()
        # Not -1: with no frame at all it could not be inferred.
        frames = expected * self.factor
        return expanded.reshape(batch, frames, channels)[:, :num_frames]

    def _grouped(self, values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Groups of r frames, zero where not real, and which are real."""
        batch, frames, channels = values.shape
        groups = self.merged_frames(frames)
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
