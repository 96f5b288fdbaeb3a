"""Three ways to tell where the codes of a message end.

A file says how many frames it holds in a byte of its own. Between two sides
that have agreed on a model, less does: see docs/bitstream.md for what each
way costs.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from speechbrain_acom.entropy.coder import check_shortest
from speechbrain_acom.entropy.interval import (
    WORD_BYTES,
    Interval,
    RangeDecoder,
    RangeEncoder,
    edges,
)
from speechbrain_acom.entropy.limits import MAX_FRAMES
from speechbrain_acom.entropy.priors.contract import TOTAL_FREQUENCY
from speechbrain_acom.entropy.priors.static import StaticPrior
from speechbrain_acom.errors import ConfigurationError


class Ending(ABC):
    """How a reader of frames learns which is the last one."""

    def interval(self) -> Interval:
        """What the codes of a message are to narrow."""
        return Interval()

    def start(self, encoder: RangeEncoder, count: int) -> None:
        """Write what stands before the first of so many frames."""
        return None

    def frame(self, encoder: RangeEncoder, last: bool) -> None:
        """Write what stands before every frame, and behind the last one."""
        return None

    def finish(self, encoder: RangeEncoder) -> bytes:
        """The payload of what was written."""
        return encoder.finish()

    @abstractmethod
    def reader(self, decoder: RangeDecoder) -> Callable[[], bool]:
        """A function to call before every frame.

        Arguments
        ---------
        decoder : RangeDecoder
            The payload; its interval is one of :meth:`interval`.

        Returns
        -------
        Callable[[], bool]
            It reads what :meth:`frame` wrote, and says whether the frames are
            at their end. It raises BitstreamError if no encoder wrote this.
        """

    def check(self, decoder: RangeDecoder) -> None:
        """Raise BitstreamError if its codes have another payload."""
        check_shortest(decoder, decoder.shortest())

    @abstractmethod
    def content(self) -> bytes:
        """What two sides have to agree on."""


def uniform_edges(size: int) -> np.ndarray:
    """Edges of as many entries that are equally probable."""
    return np.arange(size + 1) * TOTAL_FREQUENCY // size


# A coded length ---------------------------------------------------------------

# Lengths of up to 7 have a class each, then each power of two has four.
_CLASSES = 64


def _length_class(count: int) -> tuple[int, int]:
    """Class of a number of frames, and how many lower bits it leaves open."""
    value = int(count) + 1
    open_bits = max(value.bit_length() - 3, 0)
    return 4 * open_bits + (value >> open_bits), open_bits


def _class_start(number: int) -> tuple[int, int]:
    """Lowest number of frames of a class, and how many bits are open."""
    open_bits = max(number // 4 - 1, 0)
    return (number - 4 * open_bits << open_bits) - 1, open_bits


@dataclass(frozen=True)
class CodedLength(Ending):
    """The number of frames stands before them, range coded as they are.

    Arguments
    ---------
    prior : StaticPrior
        Probabilities of the classes of lengths; uniform by default, which is
        a universal code.

    Raises
    ------
    ConfigurationError
        If the prior is not of one codebook of 64 classes.

    Example
    -------
    >>> ending = CodedLength.fit([84, 109, 100, 62, 84])
    >>> ending.prior.cardinalities
    (64,)
    """

    prior: StaticPrior = field(
        default_factory=lambda: StaticPrior([np.full(_CLASSES, 1024)])
    )

    def __post_init__(self) -> None:
        if self.prior.cardinalities != (_CLASSES,):
            raise ConfigurationError(
                "prior",
                f"entries {self.prior.cardinalities}",
                f"({_CLASSES},), a class each: CodedLength.fit makes one",
            )

    @classmethod
    def fit(cls, counts: Iterable[int]) -> "CodedLength":
        """Count the lengths of training utterances, in frames of codes."""
        classes = [[_length_class(count)[0]] for count in counts]
        return cls(StaticPrior.fit([np.array(classes)], (_CLASSES,)))

    def _edges(self) -> np.ndarray:
        return edges(self.prior.predictor().frequencies(0))

    def start(self, encoder: RangeEncoder, count: int) -> None:
        """Write the class of the length, then its open bits."""
        number, open_bits = _length_class(count)
        encoder.encode(*self._edges()[number : number + 2].tolist())
        rest = count - _class_start(number)[0]
        bounds = uniform_edges(1 << open_bits)
        encoder.encode(*bounds[rest : rest + 2].tolist())

    def reader(self, decoder: RangeDecoder) -> Callable[[], bool]:
        """It counts the frames down."""
        lowest, open_bits = _class_start(decoder.decode(self._edges()))
        if not 0 <= lowest <= MAX_FRAMES:
            raise decoder.error("whose length is none", f"0 to {MAX_FRAMES}")
        count = lowest + decoder.decode(uniform_edges(1 << open_bits))
        left = iter(range(count))
        return lambda: next(left, None) is None

    def content(self) -> bytes:
        """The table."""
        return b"length" + self.prior.content()


# An end symbol ----------------------------------------------------------------


@dataclass(frozen=True)
class EndSymbol(Ending):
    """A symbol before every frame says whether there is one.

    Arguments
    ---------
    expected_frames : int
        How many frames a message has on average: the end symbol has
        probability 1 / (expected_frames + 1). With more, a frame costs less
        and an end more.

    Raises
    ------
    ConfigurationError
        If this is not from 1 to 65536.
    """

    expected_frames: int

    def __post_init__(self) -> None:
        if not 1 <= self.expected_frames <= MAX_FRAMES:
            raise ConfigurationError(
                "expected_frames", self.expected_frames, f"1 to {MAX_FRAMES}"
            )

    def _edges(self) -> np.ndarray:
        end = TOTAL_FREQUENCY // (self.expected_frames + 1)
        return np.array([0, TOTAL_FREQUENCY - end, TOTAL_FREQUENCY])

    def frame(self, encoder: RangeEncoder, last: bool) -> None:
        """Write whether there is another frame."""
        encoder.encode(*self._edges()[int(last) : int(last) + 2].tolist())

    def reader(self, decoder: RangeDecoder) -> Callable[[], bool]:
        """It reads a symbol."""
        bounds = self._edges()
        return lambda: decoder.decode(bounds) == 1

    def content(self) -> bytes:
        """The expected number."""
        return b"symbol" + self.expected_frames.to_bytes(4, "big")


# The length of the byte string ------------------------------------------------


class ByteStrings(Interval):
    """An interval that gives each number of frames a byte string of its own.

    Along the frames of an utterance each number of them, from none on, takes
    a string that is in its interval (when zeros follow) and that no smaller
    number took: of the shortest such strings the lowest. So lengths never go
    down, and those taken of one length stand next to each other: the lowest
    that is free is all there is to know of the past.
    """

    def __init__(self) -> None:
        super().__init__()
        self.length = 0
        # Distance from the lower end to the lowest string that is free.
        self._free = 0

    def narrow(self, left: int, right: int) -> int | None:
        """Keep the part of one code, as any interval does."""
        words, lower = self.words, self.lower
        leaving = super().narrow(left, right)
        if self.words == words:
            self._free = max(self._free - (self.lower - lower), 0)
        else:
            moved = (leaving << 32 | self.lower >> 32) - lower
            self._free = max(self._free - moved, 0) << 8 * WORD_BYTES
        return leaving

    def take(self) -> int:
        """The string of the frames so far.

        Returns
        -------
        int
            Its distance from the lower end of the interval; it has
            ``length`` bytes.
        """
        # Shorter ones than this no payload has: see Interval.shortest.
        self._grow(WORD_BYTES * self.words)
        while True:
            unit = 1 << 8 * (self.num_bytes - self.length)
            distance = max(-self.lower % unit, self._free)
            if distance < self.size:
                self._free = distance + unit
                return distance
            self._grow(self.length + 1)

    def _grow(self, length: int) -> None:
        if length > self.length:
            self.length, self._free = length, 0


@dataclass(frozen=True)
class ByteLength(Ending):
    """The length of the byte string, which the transport knows, says it.

    Every number of frames has its own string: see :class:`ByteStrings`. What
    is agreed on is nothing.
    """

    def interval(self) -> ByteStrings:
        """One that gives out strings."""
        return ByteStrings()

    def frame(self, encoder: RangeEncoder, last: bool) -> None:
        """Take the string of the frames before this one."""
        if not last:
            encoder.interval.take()

    def finish(self, encoder: RangeEncoder) -> bytes:
        """The string of all frames."""
        strings = encoder.interval
        number = encoder.lower + strings.take()
        zero_bytes = strings.num_bytes - strings.length
        return (number >> 8 * zero_bytes).to_bytes(strings.length, "big")

    def reader(self, decoder: RangeDecoder) -> Callable[[], bool]:
        """It compares the string of the frames so far with the payload."""
        strings, length = decoder.interval, len(decoder.data)

        def ended() -> bool:
            distance = strings.take()
            missed = strings.length == length and distance > decoder.offset
            if strings.length > length or missed:
                raise decoder.error(
                    "which no number of frames gives", "those of an encoder"
                )
            return strings.length == length and distance == decoder.offset

        return ended

    def check(self, decoder: RangeDecoder) -> None:
        """Nothing: the reader has found the very string."""

    def content(self) -> bytes:
        """Its name."""
        return b"bytes"
