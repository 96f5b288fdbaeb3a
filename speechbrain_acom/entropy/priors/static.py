"""Static tables: the same probabilities for every frame."""

from collections.abc import Iterable, Sequence

import numpy as np

from speechbrain_acom.entropy.priors.contract import (
    PRECISION_BITS,
    Predictor,
    Prior,
    check_count,
    checked_cardinalities,
    checked_codes,
)
from speechbrain_acom.errors import ConfigurationError, DataError

# The tables are stored in 16 bits an entry.
TABLE_BITS = 16
TABLE_TOTAL = 1 << TABLE_BITS


class StaticPredictor(Predictor):
    """Gives the tables of a :class:`StaticPrior`, whatever came before.

    Arguments
    ---------
    tables : Sequence[np.ndarray]
        K arrays, int64, shape (V_k,), that sum to 2^16.
    """

    def __init__(self, tables: Sequence[np.ndarray]) -> None:
        self._tables = [
            table << PRECISION_BITS - TABLE_BITS for table in tables
        ]

    def frequencies(self, codebook: int) -> np.ndarray:
        """Table of a codebook, int64, shape (V_k,)."""
        return self._tables[codebook]

    def update(self, codebook: int, entry: int) -> None:
        """Nothing: the past does not matter."""

    def constant_frequencies(self, codebook: int) -> np.ndarray:
        """Table of a codebook, int64, shape (V_k,)."""
        return self._tables[codebook]

    def observe(self, codebook: int, entries: np.ndarray) -> np.ndarray:
        """The same table for every code, int64, shape (frame, V_k)."""
        table = self._tables[codebook]
        return np.broadcast_to(table, (len(entries), len(table)))


class StaticPrior(Prior):
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

    KIND = 0

    def __init__(self, tables: Sequence[np.ndarray]) -> None:
        self._cardinalities = checked_cardinalities(map(len, tables))
        self._tables = tuple(_checked_table(table) for table in tables)

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
        cardinalities = checked_cardinalities(cardinalities)
        starts = _starts(cardinalities)
        counts = np.zeros(sum(cardinalities), dtype=np.int64)
        frames = 0
        for utterance in codes:
            utterance = checked_codes(utterance, cardinalities)
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
        check_count(count, len(self._tables))
        if count == len(self._tables):
            return self
        return StaticPrior(self._tables[:count])

    def predictor(self) -> StaticPredictor:
        """A predictor at the start of a message."""
        return StaticPredictor(self._tables)

    def content(self) -> bytes:
        """K and V_1..V_K in four bytes each, every frequency less 1 in two."""
        sizes = [len(self._cardinalities), *self._cardinalities]
        # Less one, so that the 2^16 of a codebook of one entry fits 16 bits.
        frequencies = np.concatenate(self._tables) - 1
        return (
            np.array(sizes, dtype=">u4").tobytes()
            + frequencies.astype(">u2").tobytes()
        )

    @classmethod
    def from_content(cls, content: bytes) -> "StaticPrior":
        """The prior of what :meth:`content` gave; ValueError if none."""
        codebooks = int(np.frombuffer(content, ">u4", 1)[0])
        sizes = np.frombuffer(content, ">u4", codebooks, 4)
        first = 4 + sizes.nbytes
        stored = np.frombuffer(content, ">u2", offset=first).astype(np.int64)
        if len(stored) != sizes.sum(dtype=np.int64):
            raise ValueError("its tables and codebook sizes disagree")
        return cls(np.split(stored + 1, np.cumsum(sizes, dtype=np.int64)[:-1]))


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
    if table.min() < 1 or table.sum() != TABLE_TOTAL:
        raise ConfigurationError(
            "prior table",
            f"minimum {table.min()} and sum {table.sum()}",
            f"minimum 1 and sum {TABLE_TOTAL}",
        )
    table.setflags(write=False)
    return table


def _starts(cardinalities: tuple[int, ...]) -> np.ndarray:
    """Where each codebook starts when all tables stand in one array."""
    return np.cumsum((0, *cardinalities[:-1]), dtype=np.int64)


def _frequencies(counts: np.ndarray) -> np.ndarray:
    """Round counts, shape (V,), to frequencies that sum to 2^16."""
    weights = 2 * counts + 1
    rare = np.zeros(len(weights), dtype=bool)
    while True:
        free = TABLE_TOTAL - int(rare.sum())
        total = int(weights[~rare].sum())
        below_one = ~rare & (weights * free < total)
        if not below_one.any():
            break
        # What these take beyond their share makes the others' share smaller,
        # so look again. The largest weight never falls below 1.
        rare |= below_one
    shares, remainders = np.divmod(weights * free, total)
    shares[rare], remainders[rare] = 1, -1
    missing = TABLE_TOTAL - int(shares.sum())
    # A stable sort: ties go to the lower entry on every machine.
    shares[np.argsort(-remainders, kind="stable")[:missing]] += 1
    return shares
