"""How many frames at the cut a frame of codes stands for."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from speechbrain_acom.errors import ConfigurationError


@dataclass(frozen=True)
class Framing:
    """What a reader must know to see where the codes of a message end.

    Arguments
    ---------
    merge : int
        Frames at the cut that a frame of codes covers; where run lengths are
        coded, the fewest that it covers.
    run_lengths : bool
        Whether the first code of every frame is the number of frames that it
        covers, less one. Otherwise all cover equally many, but for the last
        one, which may cover fewer.

    Example
    -------
    >>> runs = Framing(run_lengths=True)
    >>> runs.covered([3, 17]), Framing(merge=2).covered([3, 17])
    (4, 2)
    """

    merge: int = 1
    run_lengths: bool = False

    @property
    def run_columns(self) -> int:
        """Codes of a frame that stand before those of the codebooks."""
        return int(self.run_lengths)

    def covered(self, frame: Sequence[int]) -> int:
        """Frames at the cut that one frame of codes covers, at least 1."""
        return int(frame[0]) + 1 if self.run_lengths else self.merge

    def most_code_frames(self, num_frames: int) -> int:
        """Frames of codes that ``num_frames`` frames take at most."""
        return -(-num_frames // self.merge)

    def check(self, codes: np.ndarray, num_frames: int) -> None:
        """Make sure that a reader finds the end of these codes.

        Arguments
        ---------
        codes : np.ndarray
            Integers, shape (code frame, K).
        num_frames : int
            Frames at the cut.

        Raises
        ------
        ConfigurationError
            If the codes cover another number of frames.

        Example
        -------
        >>> Framing(merge=2).check(np.zeros((3, 1), int), num_frames=7)
        Traceback (most recent call last):
        ...
        speechbrain_acom.errors.ConfigurationError: num_frames: found 7, expected 5 to 6, which is what 3 frames of codes cover
        """
        most = int(self._covered(codes).sum())
        # The last of the groups of fixed length need not be full.
        fewest = most if self.run_lengths else max(most - self.merge + 1, 0)
        if not fewest <= num_frames <= most:
            wanted = f"{most}" if fewest == most else f"{fewest} to {most}"
            raise ConfigurationError(
                "num_frames",
                num_frames,
                f"{wanted}, which is what {len(codes)} frames of codes cover",
            )

    def trimmed(self, codes: np.ndarray, num_frames: int) -> np.ndarray:
        """The first codes, as many as cover exactly so many frames.

        Arguments
        ---------
        codes : np.ndarray
            Integers, shape (code frame, K); they cover ``num_frames`` frames
            or more.
        num_frames : int
            Frames at the cut.

        Returns
        -------
        np.ndarray
            The first frames of codes; the last run is shortened.

        Example
        -------
        >>> Framing(run_lengths=True).trimmed(np.full((4, 2), 2), 5).tolist()
        [[2, 2], [1, 2]]
        """
        ends = np.cumsum(self._covered(codes))
        # Code frames that end before the last frame, and the one it is in.
        count = int((ends < num_frames).sum()) + 1 if num_frames else 0
        kept = codes[:count].copy()
        if self.run_lengths and count:
            kept[-1, 0] -= ends[count - 1] - num_frames
        return kept

    def _covered(self, codes: np.ndarray) -> np.ndarray:
        """Frames that each frame of codes covers, int64, (code frame,)."""
        if self.run_lengths:
            return codes[:, 0].astype(np.int64) + 1
        return np.full(len(codes), self.merge)


# Without merging: a frame of codes for every frame.
ONE_TO_ONE = Framing()
