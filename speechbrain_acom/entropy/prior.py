"""Probabilities of codes, frozen into integers that two machines share."""

import hashlib
import struct
from collections.abc import Iterable, Sequence
from os import PathLike
from pathlib import Path

import numpy as np

from speechbrain_acom.errors import (
    BitstreamError,
    ConfigurationError,
    DataError,
)

PRECISION_BITS = 16
TOTAL_FREQUENCY = 1 << PRECISION_BITS
FILE_MAGIC = b"ACMP"
FILE_VERSION = 1

_FILE_START = struct.Struct(">4sBI")
_DIGEST_BYTES = hashlib.sha256().digest_size


class StaticPrior:
    """One table of integer frequencies per codebook, the same for all frames.

    An entry of frequency f has probability f / 2^16. Every entry has at least
    frequency 1, so that a code that was never seen in training costs 16 bits
    and not an error.

    Arguments
    ---------
    tables : Sequence[np.ndarray]
        K arrays of integers, coarse to fine. Array k has shape (V_k,), its
        values are at least 1 and sum to 2^16.

    Raises
    ------
    ConfigurationError
        If there is no table, or if a table does not fit the coder.

    Example
    -------
    >>> codes = np.array([[0, 2], [0, 1], [1, 2]])
    >>> prior = StaticPrior.fit([codes], cardinalities=(2, 3))
    >>> prior.tables[0].tolist()
    [40960, 24576]
    >>> round(prior.bits(codes), 2)
    6.05
    """

    def __init__(self, tables: Sequence[np.ndarray]) -> None:
        self._cardinalities = _checked_cardinalities(map(len, tables))
        self._tables = tuple(_checked_table(table) for table in tables)
        self._starts = _starts(self._cardinalities)
        self._bits = PRECISION_BITS - np.log2(np.concatenate(self._tables))

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """Entries per codebook, coarse to fine: (V_1, ..., V_K)."""
        return self._cardinalities

    @property
    def tables(self) -> tuple[np.ndarray, ...]:
        """Frequencies, K read-only int64 arrays of shape (V_k,)."""
        return self._tables

    @classmethod
    def fit(
        cls, codes: Iterable[np.ndarray], cardinalities: Sequence[int]
    ) -> "StaticPrior":
        """Count training codes and round the shares to integers.

        Half a count is added to every entry (Krichevsky and Trofimov, The
        performance of universal encoding, 1981). Shares that would round
        below 1 become 1, the others share the rest by largest remainder.
        Only integers are computed with: every machine gets the same tables.

        Arguments
        ---------
        codes : Iterable[np.ndarray]
            One integer array (frame, K) per training utterance.
        cardinalities : Sequence[int]
            Entries per codebook, coarse to fine.

        Returns
        -------
        StaticPrior
            The fitted prior.

        Raises
        ------
        ConfigurationError
            If a V is not from 1 to 2^16, or an array does not have K columns.
        BitstreamError
            If a code is not an entry of its codebook.
        DataError
            If there is not a single frame.
        """
        cardinalities = _checked_cardinalities(cardinalities)
        starts = _starts(cardinalities)
        counts = np.zeros(sum(cardinalities), dtype=np.int64)
        frames = 0
        for utterance in codes:
            utterance = _checked_codes(utterance, cardinalities)
            frames += len(utterance)
            counts += np.bincount(
                (utterance + starts).ravel(), minlength=len(counts)
            )
        if frames == 0:
            raise DataError(
                "prior: found 0 frames of codes, expected at least 1: "
                "fit it on the codes of the training set"
            )
        return cls([_frequencies(c) for c in np.split(counts, starts[1:])])

    def first(self, count: int) -> "StaticPrior":
        """The prior of the first codes of every frame.

        Arguments
        ---------
        count : int
            Number of tables, from 1 to K.

        Returns
        -------
        StaticPrior
            The first tables, unchanged; this prior itself for all of them.

        Raises
        ------
        ConfigurationError
            If there is no such number of tables.
        """
        if count == len(self._tables):
            return self
        if not 1 <= count < len(self._tables):
            raise ConfigurationError(
                "num_codebooks",
                count,
                f"1 to {len(self._tables)}, as many as the prior was fitted "
                "for",
            )
        return StaticPrior(self._tables[:count])

    def checked(self, codes: np.ndarray) -> np.ndarray:
        """Make sure that this prior can code these codes.

        Arguments
        ---------
        codes : np.ndarray
            Integers, shape (frame, K).

        Returns
        -------
        np.ndarray
            The same codes, int64, shape (frame, K).

        Raises
        ------
        ConfigurationError
            If this is not an array of integers with K columns.
        BitstreamError
            If a code is not an entry of its codebook.
        """
        return _checked_codes(codes, self._cardinalities)

    def bits(self, codes: np.ndarray) -> float:
        """Ideal size of codes: the sum of -log2 of their probabilities.

        Arguments
        ---------
        codes : np.ndarray
            Integers, shape (frame, K).

        Returns
        -------
        float
            Bits, for all frames and codebooks together.

        Raises
        ------
        ConfigurationError
            If this is not an array of integers with K columns.
        BitstreamError
            If a code is not an entry of its codebook.
        """
        return float(self._bits[self.checked(codes) + self._starts].sum())

    def digest(self) -> bytes:
        """SHA-256 of the content: equal if and only if the tables are equal.

        Returns
        -------
        bytes
            32 bytes.
        """
        return hashlib.sha256(self._content()).digest()

    def save(self, path: str | PathLike) -> None:
        """Write the tables into one binary file.

        The file is the magic "ACMP", the version in one byte, K and V_1..V_K
        in four bytes each, every frequency minus one in two bytes, all
        big-endian, and last the SHA-256 of what stands before it.

        Arguments
        ---------
        path : str | PathLike
            File to write.
        """
        Path(path).write_bytes(self._content() + self.digest())

    @classmethod
    def load(cls, path: str | PathLike) -> "StaticPrior":
        """Read what :meth:`save` wrote.

        Arguments
        ---------
        path : str | PathLike
            File to read.

        Returns
        -------
        StaticPrior
            A prior with the same digest.

        Raises
        ------
        BitstreamError
            If the file cannot be read, is not a prior, is of another version,
            or is cut short or corrupted. The message names the file.
        """
        try:
            stored = Path(path).read_bytes()
        except OSError as error:
            raise BitstreamError(
                f"{path}: cannot be read ({error.strerror}), "
                "expected a file that StaticPrior.save wrote"
            ) from error
        _check_file(path, stored)
        try:
            return cls(_parse_tables(stored[:-_DIGEST_BYTES]))
        except ValueError as error:
            raise BitstreamError(
                f"{path}: not a usable prior ({error}): fit it again"
            ) from error

    def _content(self) -> bytes:
        """Everything that defines this prior, in the order of the file."""
        start = _FILE_START.pack(
            FILE_MAGIC, FILE_VERSION, len(self._cardinalities)
        )
        sizes = np.array(self._cardinalities, dtype=">u4").tobytes()
        # Minus one, so that the 2^16 of a codebook of one entry fits 16 bits.
        frequencies = (np.concatenate(self._tables) - 1).astype(">u2")
        return start + sizes + frequencies.tobytes()


def _checked_cardinalities(cardinalities: Iterable[int]) -> tuple[int, ...]:
    """Entries per codebook, each of which fits the coder."""
    checked = tuple(int(entries) for entries in cardinalities)
    if not checked:
        raise ConfigurationError("num_codebooks", 0, "at least 1")
    for entries in checked:
        if not 1 <= entries <= TOTAL_FREQUENCY:
            raise ConfigurationError(
                "codebook_size",
                entries,
                f"1 to {TOTAL_FREQUENCY} entries, which is what a "
                f"{PRECISION_BITS}-bit table of the coder can hold",
            )
    return checked


def _checked_table(table: np.ndarray) -> np.ndarray:
    """A table as a read-only int64 copy, if the coder can use it."""
    table = np.array(table)
    if table.dtype.kind not in "iu" or table.ndim != 1:
        raise ConfigurationError(
            "prior table",
            f"{table.dtype} of shape {table.shape}",
            "integers of shape (V,)",
        )
    table = table.astype(np.int64)
    if table.min() < 1 or table.sum() != TOTAL_FREQUENCY:
        raise ConfigurationError(
            "prior table",
            f"minimum {table.min()} and sum {table.sum()}",
            f"minimum 1 and sum {TOTAL_FREQUENCY}",
        )
    table.setflags(write=False)
    return table


def _checked_codes(
    codes: np.ndarray, cardinalities: tuple[int, ...]
) -> np.ndarray:
    """Codes as int64 (frame, K), if each is an entry of its codebook."""
    codes = np.asarray(codes)
    if codes.dtype.kind not in "iu" or codes.ndim != 2:
        raise ConfigurationError(
            "codes",
            f"{codes.dtype} of shape {codes.shape}",
            "integers of shape (frame, K)",
        )
    if codes.shape[1] != len(cardinalities):
        raise ConfigurationError(
            "num_codebooks",
            codes.shape[1],
            f"{len(cardinalities)}, as many as the prior was fitted for",
        )
    codes = codes.astype(np.int64)
    wrong = np.argwhere((codes < 0) | (codes >= np.array(cardinalities)))
    if len(wrong):
        frame, codebook = wrong[0].tolist()
        raise BitstreamError(
            f"codes: found {codes[frame, codebook]} in frame {frame}, codebook "
            f"{codebook}, expected 0 to {cardinalities[codebook] - 1}: "
            "use the prior that was fitted with this quantizer"
        )
    return codes


def _starts(cardinalities: tuple[int, ...]) -> np.ndarray:
    """Where each codebook starts when all tables stand in one array."""
    return np.cumsum((0, *cardinalities[:-1]), dtype=np.int64)


def _frequencies(counts: np.ndarray) -> np.ndarray:
    """Round counts, shape (V,), to frequencies that sum to 2^16."""
    weights = 2 * counts + 1
    rare = np.zeros(len(weights), dtype=bool)
    while True:
        free = TOTAL_FREQUENCY - int(rare.sum())
        total = int(weights[~rare].sum())
        below_one = ~rare & (weights * free < total)
        if not below_one.any():
            break
        # What these take beyond their share makes the others' share smaller,
        # so look again. The largest weight never falls below 1.
        rare |= below_one
    shares, remainders = np.divmod(weights * free, total)
    shares[rare], remainders[rare] = 1, -1
    missing = TOTAL_FREQUENCY - int(shares.sum())
    # A stable sort: ties go to the lower entry on every machine.
    shares[np.argsort(-remainders, kind="stable")[:missing]] += 1
    return shares


def _check_file(path: str | PathLike, stored: bytes) -> None:
    """Raise unless a file is a whole, undamaged prior of this version."""
    if not stored.startswith(FILE_MAGIC):
        raise BitstreamError(
            f"{path}: found {stored[:4].hex() or 'an empty file'}, expected a "
            f"prior, which starts with {FILE_MAGIC.hex()}"
        )
    version = stored[len(FILE_MAGIC) : len(FILE_MAGIC) + 1]
    if version and version[0] != FILE_VERSION:
        raise BitstreamError(
            f"{path}: prior of version {version[0]}, "
            f"this reader knows version {FILE_VERSION}"
        )
    content, digest = stored[:-_DIGEST_BYTES], stored[-_DIGEST_BYTES:]
    if hashlib.sha256(content).digest() != digest:
        raise BitstreamError(
            f"{path}: cut short or corrupted ({len(stored)} bytes, the "
            "checksum differs): copy the prior again"
        )


def _parse_tables(content: bytes) -> list[np.ndarray]:
    """Tables in a file's content; ValueError if its sizes disagree."""
    if len(content) < _FILE_START.size:
        raise ValueError("its head is missing")
    _, _, codebooks = _FILE_START.unpack_from(content)
    sizes = np.frombuffer(content, ">u4", codebooks, _FILE_START.size)
    first = _FILE_START.size + sizes.nbytes
    stored = np.frombuffer(content, ">u2", offset=first).astype(np.int64)
    if len(stored) != sizes.sum(dtype=np.int64):
        raise ValueError("its tables and codebook sizes disagree")
    return np.split(stored + 1, np.cumsum(sizes, dtype=np.int64)[:-1])
