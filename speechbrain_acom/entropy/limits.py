"""How long a message may be: what writers write and readers read at most."""

from dataclasses import dataclass

from speechbrain_acom.errors import BitstreamError, ConfigurationError

# The rarest code there is has a probability of 2^-24.
CODE_BYTES = 3
# Messages up to so long are decoded to find out what they hold.
FREE_BYTES = 1 << 16
# 43 minutes at 25 frames/s.
MAX_FRAMES = 1 << 16
# Of 64 codebooks at most this many codes: 32 MiB, as readers give them.
MAX_CODES = 1 << 22
# What a reader takes unless it is told otherwise: 41 s at 25 frames/s, and 10 s
# more for each byte. Codes of less than 1/32 bit a frame are no recording.
FREE_FRAMES, FRAMES_PER_BYTE = 1 << 10, 1 << 8


def longest_message(codes_per_frame: int) -> int:
    """Frames that a message holds at most.

    Arguments
    ---------
    codes_per_frame : int
        Codebooks that are sent, and one for run lengths.

    Returns
    -------
    int
        65536; less, where these were more than 2^22 codes.

    Example
    -------
    >>> longest_message(2), longest_message(576)
    (65536, 7281)
    """
    return min(MAX_FRAMES, MAX_CODES // codes_per_frame)


def check_writable(num_frames: int, codes_per_frame: int) -> None:
    """Raise ConfigurationError if a message cannot hold so many frames."""
    longest = longest_message(codes_per_frame)
    if num_frames > longest:
        raise ConfigurationError(
            "num_frames",
            num_frames,
            f"at most {longest}: code a longer recording in pieces",
        )


def check_readable(
    what: str, num_frames: int, codes_per_frame: int, offset: int
) -> None:
    """Raise BitstreamError if no writer writes a message so long."""
    longest = longest_message(codes_per_frame)
    if num_frames > longest:
        raise BitstreamError(
            f"{what}: found {num_frames} frames of {codes_per_frame} codes, "
            f"expected at most {longest}: forged, for no encoder writes this",
            offset,
        )


def check_size(what: str, num_bytes: int, num_codes: int, offset: int) -> None:
    """Make sure that a message is no longer than its codes can make it.

    This is for what comes before them, such as a checksum over all bytes: it
    takes time in proportion to bytes, which nobody bounds.

    Arguments
    ---------
    what : str
        What was received, for the error.
    num_bytes : int
        Bytes of it.
    num_codes : int
        Codes that it says it holds, or holds at most.
    offset : int
        The byte that says so.

    Raises
    ------
    BitstreamError
        If there are more than 3 bytes a code, and 64 KiB.

    Example
    -------
    >>> check_size("message", 70_000, 2000, 3)
    """
    most = FREE_BYTES + CODE_BYTES * num_codes
    if num_bytes > most:
        raise BitstreamError(
            f"{what} of {num_bytes} bytes for {num_codes} codes: expected at "
            f"most {most}: forged, for no encoder writes this",
            offset,
        )


def check_max_frames(max_frames: int | None) -> None:
    """Raise ConfigurationError unless a reader can take so many frames."""
    if max_frames is not None and max_frames < 1:
        raise ConfigurationError(
            "max_frames", max_frames, "at least 1, or None"
        )


@dataclass(frozen=True)
class FrameLimit:
    """What a reader takes of one message, or of one push.

    Without it few bytes could keep a reader busy for long, where a prior is
    so sure of some code that frames cost next to nothing.

    Arguments
    ---------
    num_bytes : int
        Bytes that were received.
    max_frames : int | None
        Frames at most. None: 1024, and 256 more for each byte.

    Raises
    ------
    ConfigurationError
        If ``max_frames`` is less than 1.

    Example
    -------
    >>> FrameLimit(8).frames, FrameLimit(8, max_frames=500).frames
    (3072, 500)
    """

    num_bytes: int
    max_frames: int | None = None

    def __post_init__(self) -> None:
        check_max_frames(self.max_frames)

    @property
    def frames(self) -> int:
        """Frames at most."""
        if self.max_frames is not None:
            return self.max_frames
        return FREE_FRAMES + FRAMES_PER_BYTE * self.num_bytes

    def check(self, what: str, num_frames: int, offset: int) -> None:
        """Make sure that there are no more.

        Arguments
        ---------
        what : str
            What was received, for the error.
        num_frames : int
            How many frames it holds, or has given so far.
        offset : int
            The byte that says so.

        Raises
        ------
        BitstreamError
            If there are more.
        """
        if num_frames > self.frames:
            raise BitstreamError(
                f"{what} of {self.num_bytes} bytes: found {num_frames} frames, "
                f"expected at most {self.frames}: forged, unless recordings "
                "are that long here: then set max_frames",
                offset,
            )
