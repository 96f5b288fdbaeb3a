"""Counts of codes in contexts, and how a seldom seen context backs off."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from speechbrain_acom.entropy.priors.integers import scaled

# A count is this many units, of which a discount takes some.
UNIT = 16
# In units this is 2^31, and times the weights of a row still below 2^63.
MOST_FRAMES = 1 << 27
# What the weights of a row sum to, before they are rounded to frequencies.
_WEIGHT_BITS = 31
_FACTOR_BITS = 30


@dataclass(frozen=True)
class Smoothing:
    """How much of a context's probability goes to the shorter context.

    Arguments
    ---------
    discount : int
        Sixteenths that each code seen in the context gives away, 0 to 15.
    strength : int
        Counts that the shorter context is worth besides.
    """

    discount: int
    strength: int


@dataclass(frozen=True)
class Counts:
    """How often each code was seen in each context of some length.

    Contexts are numbered in the order of what they are: node number times the
    size of what comes next, plus the code that does. So a context is found,
    and so are its codes, by bisection.

    Arguments
    ---------
    contexts : tuple[np.ndarray, ...]
        One array for every code of the context, the most telling first:
        strictly ascending, number of the context without this code times the
        size of this code, plus this code.
    entries : np.ndarray
        Strictly ascending, int64, shape (entry,): number of the whole context
        times V, plus the code seen there.
    counts : np.ndarray
        How often, int64, shape (entry,), each at least 1.
    """

    contexts: tuple[np.ndarray, ...]
    entries: np.ndarray
    counts: np.ndarray

    @classmethod
    def of(cls, events: np.ndarray, sizes: Sequence[int]) -> "Counts":
        """Count events.

        Arguments
        ---------
        events : np.ndarray
            Integers, shape (event, length + 1): the context, then the code.
        sizes : Sequence[int]
            What each column is below; V last.

        Returns
        -------
        Counts
            The counts.
        """
        nodes = np.zeros(len(events), dtype=np.int64)
        contexts = []
        for column, size in zip(events.T[:-1], sizes[:-1], strict=True):
            keys, nodes = np.unique(nodes * size + column, return_inverse=True)
            contexts.append(keys)
        entries, counts = np.unique(
            nodes * sizes[-1] + events[:, -1], return_counts=True
        )
        return cls(tuple(contexts), entries, counts.astype(np.int64))

    def shorter(self, sizes: Sequence[int]) -> "Counts":
        """Counts without the last code of the contexts.

        A code counts once for every longer context that it was seen in, not
        once for every time: what the longer contexts know is not what one
        falls back for (Kneser and Ney, Improved backing-off for m-gram
        language modeling, 1995).

        Arguments
        ---------
        sizes : Sequence[int]
            What each code of the context is below; V last.

        Returns
        -------
        Counts
            The counts.
        """
        nodes, codes = np.divmod(self.entries, sizes[-1])
        parents = self.contexts[-1][nodes] // sizes[-2]
        entries, counts = np.unique(
            parents * sizes[-1] + codes, return_counts=True
        )
        return Counts(self.contexts[:-1], entries, counts.astype(np.int64))

    def check(self, sizes: Sequence[int]) -> None:
        """Raise ValueError unless these are counts of some events."""
        nodes = 1
        for keys, size in zip(
            (*self.contexts, self.entries), sizes, strict=True
        ):
            parents = keys // size
            # No context without a code, and no code without its context.
            if not np.array_equal(np.unique(parents), np.arange(nodes)):
                raise ValueError("its contexts and codes disagree")
            nodes = len(keys)
        if self.counts.max() > MOST_FRAMES or self.counts.sum() > MOST_FRAMES:
            raise ValueError(f"it counts more than {MOST_FRAMES} frames")


class Level:
    """The counts in contexts of one length, ready to be looked up.

    Arguments
    ---------
    counts : Counts
        The counts.
    size : int
        V.
    """

    def __init__(self, counts: Counts, size: int) -> None:
        nodes = len(counts.contexts[-1]) if counts.contexts else 1
        self.entries, self.counts = counts.entries, counts.counts
        # Where the entries of each context start, and the last ones end.
        self.starts = np.searchsorted(
            counts.entries, np.arange(nodes + 1) * size
        )
        self.totals = np.add.reduceat(self.counts, self.starts[:-1])


def levels(counts: Counts, sizes: Sequence[int]) -> list[Level]:
    """Counts in contexts of every length, from none to all codes."""
    found = [counts]
    for length in range(len(counts.contexts), 0, -1):
        found.append(found[-1].shorter((*sizes[:length], sizes[-1])))
    return [Level(level, sizes[-1]) for level in reversed(found)]


class BackoffTable:
    """Frequencies of one codebook's next code in a context.

    In a context seen n times, with t different codes, a code seen c times has
    probability (c - d) / (n + s) + (s + d t) / (n + s) times its probability
    in the context without the last code, where d is the discount and s the
    strength of :class:`Smoothing` (Teh, A hierarchical Bayesian language model
    based on Pitman-Yor processes, 2006, with one table a code). A context that
    was never seen is as good as the longest part of it that was.

    Arguments
    ---------
    counts : Counts
        What training saw.
    sizes : Sequence[int]
        What each code of the context is below; V last.
    smoothings : Sequence[Smoothing]
        For contexts of every length, from none to all codes.
    cached_rows : int
        Rows that are kept in memory once they were computed.
    """

    def __init__(
        self,
        counts: Counts,
        sizes: Sequence[int],
        smoothings: Sequence[Smoothing],
        cached_rows: int,
    ) -> None:
        self.counts = counts
        self.sizes = tuple(sizes)
        self.smoothings = tuple(smoothings)
        self._levels = levels(counts, self.sizes)
        self.frequencies = lru_cache(cached_rows)(self._frequencies)
        self._row = lru_cache(cached_rows)(self._computed_row)

    def _frequencies(self, context: tuple[int, ...]) -> np.ndarray:
        """Table of the next code, int64, shape (V,), sum 2^24."""
        _, weights = self._row(context)
        frequencies = scaled(weights)
        frequencies.setflags(write=False)
        return frequencies

    def _computed_row(
        self, context: tuple[int, ...]
    ) -> tuple[int | None, np.ndarray]:
        """Number of a context, None if never seen, and its weights."""
        size = self.sizes[-1]
        if not context:
            uniform = np.full(size, (1 << _WEIGHT_BITS) // size)
            return 0, self._mixed(0, 0, uniform)
        parent, shorter = self._row(context[:-1])
        if parent is None:
            return None, shorter
        length = len(context)
        keys = self.counts.contexts[length - 1]
        key = parent * self.sizes[length - 1] + context[-1]
        node = int(keys.searchsorted(key))
        if node == len(keys) or keys[node] != key:
            return None, shorter
        return node, self._mixed(length, node, shorter)

    def _mixed(self, length: int, node: int, shorter: np.ndarray) -> np.ndarray:
        """Weights in a context out of those in the shorter one.

        They sum to 2^31, or a little less by rounding.
        """
        level, smoothing = self._levels[length], self.smoothings[length]
        start, stop = level.starts[node : node + 2].tolist()
        total = UNIT * (int(level.totals[node]) + smoothing.strength)
        given_away = UNIT * smoothing.strength + smoothing.discount * (
            stop - start
        )
        # A product with a fraction of 30 bits: division is slow.
        weights = shorter * ((given_away << _FACTOR_BITS) // total)
        weights >>= _FACTOR_BITS
        kept = UNIT * level.counts[start:stop] - smoothing.discount
        codes = level.entries[start:stop] - node * self.sizes[-1]
        weights[codes] += (kept << _WEIGHT_BITS) // total
        return weights
