"""What a neural prior sees of past frames: sums over spans of them."""

import numpy as np

from speechbrain_acom.context import Context

# Frames that predictors look at together; it bounds the memory that they take.
BLOCK_FRAMES = 64


class SpanSums:
    """Sums of a message's past frames, span by span, as the frames come.

    Sums of all frames so far are kept, for one window of the context: a sum
    over a span is the difference of two of them.

    Arguments
    ---------
    context : Context
        Which frames are seen.
    outside : np.ndarray
        What stands for each frame before the message, shape (E,), integers in
        float64.

    Example
    -------
    >>> sums = SpanSums(Context(recent_frames=2, pooled_groups=1), np.zeros(1))
    >>> sums.append(np.array([[8.0], [4.0], [2.0], [1.0]]))
    >>> sums.now().tolist()
    [[1.0, 2.0, 12.0]]
    """

    def __init__(self, context: Context, outside: np.ndarray) -> None:
        near, far = np.array(context.spans).T
        self._behind, self._before = 1 - near, -far
        self._window = context.window
        steps = np.arange(self._window + 1.0)[:, np.newaxis]
        rows = self._window + 1 + BLOCK_FRAMES
        self._totals = np.zeros((rows, len(outside)))
        self._totals[: self._window + 1] = steps * outside
        self._place = self._window

    def now(self) -> np.ndarray:
        """What the frame behind the last one sees, shape (1, span * E)."""
        place = self._place
        sums = self._totals[place + self._behind]
        sums -= self._totals[place + self._before]
        return sums.reshape(1, -1)

    def ahead(self, frames: np.ndarray) -> np.ndarray:
        """What frames that are all known see.

        Arguments
        ---------
        frames : np.ndarray
            The next ones, shape (frame, E).

        Returns
        -------
        np.ndarray
            Shape (frame, span * E): the first sees what :meth:`now` gives,
            the others see those before them as well.
        """
        totals = np.concatenate([self._last(), self._continued(frames)])
        places = self._window + np.arange(len(frames))[:, np.newaxis]
        sums = totals[places + self._behind] - totals[places + self._before]
        return sums.reshape(len(frames), sums.shape[1] * sums.shape[2])

    def append(self, frames: np.ndarray) -> None:
        """Take note of the next frames, shape (frame, E), 64 or fewer."""
        if self._place + len(frames) >= len(self._totals):
            kept = self._last()
            # Differences are all that counts: totals stay small.
            self._totals[: len(kept)] = kept - kept[0]
            self._place = self._window
        first, last = self._place + 1, self._place + 1 + len(frames)
        self._totals[first:last] = self._continued(frames)
        self._place = last - 1

    def _last(self) -> np.ndarray:
        """The sums that a window needs."""
        return self._totals[self._place - self._window : self._place + 1]

    def _continued(self, frames: np.ndarray) -> np.ndarray:
        # A frame alone, as decoders have them, is its own sum.
        sums = frames if len(frames) == 1 else frames.cumsum(axis=0)
        return self._totals[self._place] + sums
