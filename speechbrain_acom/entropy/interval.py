"""The arithmetic of the range coder: intervals of numbers, in integers only.

It is that of ``constriction.stream.queue`` with 32-bit words, a 64-bit state
and models of 24 bits (``Categorical(..., perfect=False)``), to the bit, so
that either can go on where the other stops.
"""

from functools import lru_cache

import numpy as np

from speechbrain_acom.entropy.priors.contract import (
    PRECISION_BITS,
    TOTAL_FREQUENCY,
)
from speechbrain_acom.errors import BitstreamError

WORD_BITS, WORD_BYTES = 32, 4
STATE_BITS, STATE_BYTES = 64, 8
FULL_SIZE = (1 << STATE_BITS) - 1

_LEAST_SIZE = 1 << STATE_BITS - WORD_BITS
_STATE_MASK = (1 << STATE_BITS) - 1
_WORD_MASK = (1 << WORD_BITS) - 1


def edges(frequencies: np.ndarray) -> np.ndarray:
    """Where each entry starts in the coder's own tables.

    The coder gives every entry one of its 2^24 parts and shares out the rest
    by frequency, rounded down: the edge before entry s is
    floor(C_s (2^24 - V) / 2^24) + s, C_s the sum of the frequencies before s.

    Arguments
    ---------
    frequencies : np.ndarray
        int64, shape (..., V), that sum to 2^24.

    Returns
    -------
    np.ndarray
        int64, shape (..., V + 1), from 0 to 2^24.

    Example
    -------
    >>> edges(np.array([2**23, 2**23])).tolist()
    [0, 8388608, 16777216]
    """
    size = frequencies.shape[-1]
    found = np.zeros((*frequencies.shape[:-1], size + 1), dtype=np.int64)
    np.cumsum(frequencies, axis=-1, out=found[..., 1:])
    found *= TOTAL_FREQUENCY - size
    found >>= PRECISION_BITS
    found += _entries(size + 1)
    return found


@lru_cache(maxsize=8)
def _entries(count: int) -> np.ndarray:
    """From 0 on."""
    return np.arange(count)


class Interval:
    """The numbers that codes have left: ``size`` of them from ``lower`` on.

    Numbers are those of ``STATE_BYTES + WORD_BYTES * words`` bytes; of
    ``lower`` only the last eight bytes are kept. Each code narrows the
    interval to its own part. When fewer than 2^32 numbers are left, all get
    a word longer.
    """

    def __init__(self) -> None:
        self.lower = 0
        self.size = FULL_SIZE
        self.words = 0

    @property
    def untouched(self) -> bool:
        """Whether it is still that of all numbers."""
        return self.size == FULL_SIZE

    @property
    def num_bytes(self) -> int:
        """Bytes of a number."""
        return STATE_BYTES + WORD_BYTES * self.words

    def narrow(self, left: int, right: int) -> int | None:
        """Keep the part of one code.

        Arguments
        ---------
        left : int
            Edge before the code, from 0.
        right : int
            Edge behind it, to 2^24. A code that has all of the table changes
            nothing.

        Returns
        -------
        int | None
            Where numbers get a word longer, the word that leaves the lower
            end; one bit more than a word, where it carries into those before.
        """
        if right - left == TOTAL_FREQUENCY:
            return None
        scale = self.size >> PRECISION_BITS
        self.lower += scale * left
        self.size = scale * (right - left)
        if self.size >= _LEAST_SIZE:
            return None
        leaving = self.lower >> STATE_BITS - WORD_BITS
        self.lower = (self.lower & _WORD_MASK) << WORD_BITS
        self.size <<= WORD_BITS
        self.words += 1
        return leaving

    def shortest(self, complete: bool) -> tuple[int, int]:
        """The number that takes the fewest bytes, of several the lowest.

        Arguments
        ---------
        complete : bool
            Whether all numbers that start with these bytes have to be in the
            interval. Otherwise the one that goes on with zeros has to.

        Returns
        -------
        tuple[int, int]
            Its distance from the lower end, and how many zero bytes at its
            end need not be written: eight at most, so that n bytes narrow to
            words <= n / 4 and no further.
        """
        if self.untouched:
            return 0, STATE_BYTES
        for zero_bytes in range(STATE_BYTES, 0, -1):
            unit = 1 << 8 * zero_bytes
            distance = -self.lower % unit
            if distance + (unit - 1 if complete else 0) < self.size:
                return distance, zero_bytes
        return 0, 0


class RangeEncoder:
    """Gathers the interval of codes, and the bytes that stand for it.

    Arguments
    ---------
    interval : Interval | None
        What to narrow; None: all numbers.

    Example
    -------
    >>> encoder = RangeEncoder()
    >>> encoder.encode(3 << 22, 1 << 24)
    >>> encoder.finish().hex()
    'c0'
    """

    def __init__(self, interval: Interval | None = None) -> None:
        self.interval = interval or Interval()
        # What left the lower end, with carries still to be made.
        self._left: list[int] = []

    def encode(self, left: int, right: int) -> None:
        """Code one entry, given by its edges."""
        leaving = self.interval.narrow(left, right)
        if leaving is not None:
            self._left.append(leaving)

    @property
    def lower(self) -> int:
        """The lower end of the interval, all of its bytes."""
        left = np.array(self._left, dtype=np.uint64)
        high = (left & np.uint64(_WORD_MASK)).astype(">u4").tobytes()
        carries = (left >> np.uint64(WORD_BITS)).astype(">u4").tobytes()
        number = int.from_bytes(high, "big")
        number += int.from_bytes(carries, "big") << WORD_BITS
        return (number << STATE_BITS) + self.interval.lower

    def finish(self, complete: bool = False) -> bytes:
        """The shortest bytes that decode to what was coded.

        Arguments
        ---------
        complete : bool
            Whether they have to, whatever bytes may follow.

        Returns
        -------
        bytes
            None, if nothing was coded.
        """
        return number_bytes(self.interval, self.lower, complete)


def number_bytes(interval: Interval, lower: int, complete: bool) -> bytes:
    """The shortest bytes for an interval.

    Arguments
    ---------
    interval : Interval
        The interval.
    lower : int
        Its lower end, all bytes.
    complete : bool
        As for :meth:`Interval.shortest`.

    Returns
    -------
    bytes
        Most significant first.
    """
    distance, zero_bytes = interval.shortest(complete)
    number = lower + distance >> 8 * zero_bytes
    return number.to_bytes(interval.num_bytes - zero_bytes, "big")


class RangeDecoder:
    """Finds the codes whose interval a number is in.

    Arguments
    ---------
    data : bytes | bytearray
        The number's first bytes; zeros follow. More may be appended later.
    first_byte : int
        Where these bytes stand in what was received, for errors to tell.
    interval : Interval | None
        What to narrow; None: all numbers.

    Example
    -------
    >>> decoder = RangeDecoder(b"\\xc0")
    >>> decoder.decode(np.array([0, 3 << 22, 1 << 24]))
    1
    >>> decoder.shortest().hex()
    'c0'
    """

    def __init__(
        self,
        data: bytes | bytearray,
        first_byte: int = 0,
        interval: Interval | None = None,
    ) -> None:
        self.data = data
        self.first_byte = first_byte
        self.interval = interval or Interval()

    @property
    def offset(self) -> int:
        """Distance of the number from the lower end of the interval."""
        start = WORD_BYTES * self.interval.words
        seen = bytes(self.data[start : start + STATE_BYTES])
        point = int.from_bytes(seen.ljust(STATE_BYTES, b"\0"), "big")
        return (point - self.interval.lower) & _STATE_MASK

    @property
    def unknown(self) -> int:
        """How many numbers start with the bytes that are there."""
        return 1 << 8 * max(self.interval.num_bytes - len(self.data), 0)

    @property
    def certain(self) -> bool:
        """Whether all of them are in the interval."""
        interval = self.interval
        return interval.untouched or self.offset + self.unknown <= interval.size

    def decode(self, table: np.ndarray) -> int:
        """Find the next code.

        Arguments
        ---------
        table : np.ndarray
            What :func:`edges` gives of its frequencies, shape (V + 1,).

        Returns
        -------
        int
            The entry.

        Raises
        ------
        BitstreamError
            If no code whatever leads to this number.
        """
        entry = self._entry(table)
        self.interval.narrow(int(table[entry]), int(table[entry + 1]))
        return entry

    def decode_certain(self, table: np.ndarray) -> int | None:
        """Find the next code, if no bytes to come can change it.

        Arguments
        ---------
        table : np.ndarray
            As for :meth:`decode`.

        Returns
        -------
        int | None
            The entry; None, and nothing is done, if it is not certain yet.

        Raises
        ------
        BitstreamError
            If no code whatever leads to this number.
        """
        entry = self._entry(table)
        left, right = int(table[entry]), int(table[entry + 1])
        end = (self.interval.size >> PRECISION_BITS) * right
        if len(table) > 2 and self.offset + self.unknown > end:
            return None
        self.interval.narrow(left, right)
        return entry

    def _entry(self, table: np.ndarray) -> int:
        if len(table) == 2:
            return 0
        quantile = self.offset // (self.interval.size >> PRECISION_BITS)
        if quantile >= TOTAL_FREQUENCY:
            raise self.error("which no codes give", "a payload of this prior")
        return int(table.searchsorted(quantile, side="right")) - 1

    def check_length(self, zero_bytes: int = 0) -> None:
        """Make sure that the codes so far are not worth more than the bytes.

        Without this a forged count of frames would be decoded to its end.

        Arguments
        ---------
        zero_bytes : int
            How many zero bytes the writer may have left out.

        Raises
        ------
        BitstreamError
            If no encoder gives so few bytes for these codes.
        """
        fewest = WORD_BYTES * self.interval.words - zero_bytes
        if fewest > len(self.data):
            raise self.error("too few for their codes", f"{fewest} or more")

    def shortest(self, complete: bool = False) -> bytes:
        """What :meth:`RangeEncoder.finish` gives for the codes so far."""
        interval = self.interval
        known = bytes(self.data[: interval.num_bytes])
        number = int.from_bytes(known.ljust(interval.num_bytes, b"\0"), "big")
        return number_bytes(interval, number - self.offset, complete)

    @property
    def place(self) -> int:
        """The byte that decoding has come to."""
        read = min(WORD_BYTES * self.interval.words, len(self.data))
        return self.first_byte + read

    def error(self, found: str, expected: str) -> BitstreamError:
        """An error that names the place that decoding has come to."""
        return BitstreamError(
            f"payload: found {len(self.data)} bytes, {found}, expected "
            f"{expected}: cut short, corrupted or forged, send it again",
            self.place,
        )
