"""Merging that waits for no frame."""

import torch
from torch import Tensor

from speechbrain_acom.merges.fixed import FixedMerge
from speechbrain_acom.merges.streams import MergeStream


class CausalMerge(FixedMerge):
    """Merges every r-th frame with the r - 1 before it.

    A merged frame is the mean of them, and stands for its last frame and the
    r - 1 after that one: it is there as soon as the first frame that it stands
    for, where that of :class:`FixedMerge` waits for r - 1 more. The price is
    that it looks back: nothing comes before the first frame, and up to r - 1
    frames at the end are not sent.

    Arguments
    ---------
    channels : int
        Size of the last axis of the features.
    factor : int
        r, the number of frames that become one.

    Example
    -------
    >>> halve = CausalMerge(channels=1, factor=2)
    >>> frames = torch.tensor([[[1.0], [3.0], [5.0]]])
    >>> merged = halve.merge(frames)
    >>> merged.values.flatten().tolist()
    [1.0, 4.0]
    >>> halve.expand(merged.values, merged.codes, 3).flatten().tolist()
    [1.0, 1.0, 4.0]
    """

    def __init__(self, channels: int, factor: int) -> None:
        super().__init__(channels, factor)

    def stream(self) -> "CausalStream":
        """Merge frames that come bit by bit; none is held back."""
        return CausalStream(self)

    def _grouped(self, values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Groups that end with frames 0, r, 2 r, ..., and which are real."""
        earlier = self.factor - 1
        frames = self._merged_frames(values.shape[1]) * self.factor
        pad = torch.nn.functional.pad
        values = pad(values, (0, 0, earlier, 0))[:, :frames]
        mask = pad(mask, (earlier, 0))[:, :frames]
        groups, real = super()._grouped(values, mask)
        # Frames of an utterance after its last group are in none.
        real = real & real[..., -1:]
        return groups.masked_fill(~real.unsqueeze(-1), 0.0), real


class CausalStream(MergeStream):
    """A :class:`CausalMerge` on its way through an utterance.

    Arguments
    ---------
    merge : CausalMerge
        The merge.

    Example
    -------
    >>> stream = CausalStream(CausalMerge(channels=1, factor=2))
    >>> stream.push(torch.tensor([[[1.0], [3.0]]])).flatten().tolist()
    [1.0]
    >>> stream.push(torch.tensor([[[5.0]]])).flatten().tolist()
    [4.0]
    """

    def __init__(self, merge: CausalMerge) -> None:
        self._merge = merge
        # From the last frame that was merged on.
        self._held: Tensor | None = None

    def push(self, frames: Tensor) -> Tensor:
        """See :meth:`MergeStream.push`."""
        before = 0
        if self._held is not None:
            frames = torch.cat([self._held, frames], dim=1)
            before = 1
        merged = self._merge.merge(frames).values
        last = max(merged.shape[1] - 1, 0) * self._merge.factor
        self._held = frames[:, last:] if merged.shape[1] else None
        return merged[:, before:]

    def finish(self, frames: Tensor) -> Tensor:
        """See :meth:`MergeStream.finish`."""
        return self.push(frames)
