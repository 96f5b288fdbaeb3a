"""Merging frames that come bit by bit."""

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor


class MergeStream(ABC):
    """Merges the frames of one utterance, as they come.

    All that it gives, in turn, is what the merge gives for the whole.
    """

    @abstractmethod
    def push(self, frames: Tensor) -> Tensor:
        """Take frames, give the merged ones that are certain by now.

        Arguments
        ---------
        frames : Tensor
            Shape (1, frame, channel).

        Returns
        -------
        Tensor
            Shape (1, code frame, channel); there may be none.
        """

    @abstractmethod
    def finish(self, frames: Tensor) -> Tensor:
        """As :meth:`push`, of the last frames: nothing is held back."""


class GroupStream(MergeStream):
    """Merges groups of equally many frames when they are whole.

    Arguments
    ---------
    merge : Callable[[Tensor], Tensor]
        Frames (1, frame, channel) to (1, code frame, channel).
    factor : int
        r, the frames of a group.

    Example
    -------
    >>> stream = GroupStream(lambda frames: frames[:, ::2], factor=2)
    >>> stream.push(torch.ones(1, 3, 4)).shape
    torch.Size([1, 1, 4])
    >>> stream.finish(torch.ones(1, 2, 4)).shape
    torch.Size([1, 2, 4])
    """

    def __init__(self, merge: Callable[[Tensor], Tensor], factor: int) -> None:
        self._merge = merge
        self._factor = factor
        self._held: Tensor | None = None

    def push(self, frames: Tensor) -> Tensor:
        """See :meth:`MergeStream.push`."""
        frames = self._with_held(frames)
        whole = frames.shape[1] // self._factor * self._factor
        self._held = frames[:, whole:]
        return self._merge(frames[:, :whole])

    def finish(self, frames: Tensor) -> Tensor:
        """See :meth:`MergeStream.finish`; the last group may be smaller."""
        frames, self._held = self._with_held(frames), None
        return self._merge(frames)

    def _with_held(self, frames: Tensor) -> Tensor:
        if self._held is None:
            return frames
        return torch.cat([self._held, frames], dim=1)
