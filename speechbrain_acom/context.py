"""Which past frames a network that predicts codes looks at."""

from dataclasses import dataclass

from speechbrain_acom.errors import ConfigurationError

# Nearly three minutes at 25 frames/s; it bounds what a forged file asks for.
LARGEST_WINDOW = 1 << 12


@dataclass(frozen=True)
class Context:
    """Which past frames the network of a prior looks at.

    The last frames one by one, and before them groups of frames, of which it
    sees the sums: each group reaches twice as far back as what is nearer.

    Arguments
    ---------
    recent_frames : int
        Frames seen one by one.
    pooled_groups : int
        Groups before them.

    Raises
    ------
    ConfigurationError
        If there are no frames, or it would see more than 4096.

    Example
    -------
    >>> Context(recent_frames=2, pooled_groups=2).spans
    ((1, 1), (2, 2), (3, 4), (5, 8))
    """

    recent_frames: int
    pooled_groups: int

    def __post_init__(self) -> None:
        if self.recent_frames < 1 or self.pooled_groups < 0:
            raise ConfigurationError(
                "recent_frames, pooled_groups",
                (self.recent_frames, self.pooled_groups),
                "at least one frame and no negative number of groups",
            )
        if (
            self.pooled_groups > LARGEST_WINDOW.bit_length()
            or self.window > LARGEST_WINDOW
        ):
            raise ConfigurationError(
                "recent_frames, pooled_groups",
                (self.recent_frames, self.pooled_groups),
                f"recent_frames * 2^pooled_groups of at most {LARGEST_WINDOW}",
            )

    @property
    def window(self) -> int:
        """The farthest frame seen, counted from the one to predict."""
        return self.recent_frames << self.pooled_groups

    @property
    def spans(self) -> tuple[tuple[int, int], ...]:
        """Nearest and farthest frame of each input, near to far."""
        singles = [(lag, lag) for lag in range(1, self.recent_frames + 1)]
        reaches = [
            self.recent_frames << group for group in range(self.pooled_groups)
        ]
        return (*singles, *((reach + 1, 2 * reach) for reach in reaches))

    @property
    def widths(self) -> tuple[int, ...]:
        """Frames of each input, near to far."""
        return tuple(far - near + 1 for near, far in self.spans)
