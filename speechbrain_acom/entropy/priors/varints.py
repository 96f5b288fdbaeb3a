"""Many integers in few bytes: the numbers that files of counts are made of."""

import numpy as np

# Numbers below 2^42: more than any file holds, and far from what int64 holds.
_LONGEST = 6
_CONTINUED = 0x80


def write_varints(numbers: np.ndarray) -> bytes:
    """Each number as unsigned LEB128: seven bits a byte, low ones first.

    Arguments
    ---------
    numbers : np.ndarray
        Integers from 0 to 2^42 - 1, shape (n,).

    Returns
    -------
    bytes
        One byte for a number below 128, two below 16384, and so on.

    Example
    -------
    >>> write_varints(np.array([5, 300])).hex(" ")
    '05 ac 02'
    """
    numbers = np.asarray(numbers, dtype=np.int64)
    shifted = numbers[:, np.newaxis] >> 7 * np.arange(_LONGEST)
    # The first byte is always written, others while something is left.
    written = shifted > 0
    written[:, 0] = True
    septets = (shifted & _CONTINUED - 1).astype(np.uint8)
    septets[:, :-1][written[:, 1:]] |= _CONTINUED
    return septets[written].tobytes()


def read_varints(content: bytes) -> np.ndarray:
    """The numbers that :func:`write_varints` was given.

    Arguments
    ---------
    content : bytes
        All of what it gave.

    Returns
    -------
    np.ndarray
        int64, shape (n,): no more numbers than there are bytes.

    Raises
    ------
    ValueError
        If the last number is cut short, or one is too long.

    Example
    -------
    >>> read_varints(bytes.fromhex("05 ac 02")).tolist()
    [5, 300]
    """
    septets = np.frombuffer(content, dtype=np.uint8).astype(np.int64)
    ends = np.flatnonzero(septets < _CONTINUED)
    if len(septets) and septets[-1] >= _CONTINUED:
        raise ValueError("its last number is cut short")
    lengths = np.diff(ends, prepend=-1)
    if len(lengths) == 0:
        return np.empty(0, dtype=np.int64)
    if lengths.max() > _LONGEST:
        raise ValueError(f"a number takes more than {_LONGEST} bytes")
    starts = ends - lengths + 1
    places = np.arange(len(septets)) - np.repeat(starts, lengths)
    return np.add.reduceat((septets & _CONTINUED - 1) << 7 * places, starts)


def ascending_gaps(numbers: np.ndarray) -> np.ndarray:
    """Strictly ascending numbers as what lies between them.

    Arguments
    ---------
    numbers : np.ndarray
        Integers of at least 0, each above the one before, shape (n,).

    Returns
    -------
    np.ndarray
        int64, shape (n,), each at least 0.

    Example
    -------
    >>> ascending_gaps(np.array([2, 3, 7])).tolist()
    [2, 0, 3]
    """
    return np.diff(numbers, prepend=-1) - 1


class NumberReader:
    """Takes numbers out of a file, and never more than it has.

    Arguments
    ---------
    content : bytes
        What :func:`write_varints` gave.

    Example
    -------
    >>> reader = NumberReader(bytes.fromhex("02 02 00 03"))
    >>> reader.number(), reader.ascending(3).tolist()
    (2, [2, 3, 7])
    """

    def __init__(self, content: bytes) -> None:
        self._numbers = read_varints(content)
        self._next = 0

    def number(self) -> int:
        """The next number; ValueError at the end of the file."""
        return int(self.numbers(1)[0])

    def numbers(self, count: int) -> np.ndarray:
        """The next numbers, int64, shape (count,); ValueError at the end."""
        left = len(self._numbers) - self._next
        if count > left:
            raise ValueError(f"it ends {count - left} numbers too early")
        self._next += count
        return self._numbers[self._next - count : self._next]

    def ascending(self, count: int) -> np.ndarray:
        """Numbers of which the file holds the :func:`ascending_gaps`."""
        # Below 2^42 each: a sum of fewer than 2^21 of them fits 63 bits, and
        # what wraps round in a forged file is no longer ascending.
        numbers = np.cumsum(self.numbers(count) + 1) - 1
        if count and (numbers[0] < 0 or (np.diff(numbers) <= 0).any()):
            raise ValueError("numbers that should ascend do not")
        return numbers
