"""Context tables: codes predicted from the codes next to them."""

from collections import deque
from collections.abc import Iterable, Sequence

import numpy as np

from speechbrain_acom.entropy.priors.backoff import (
    MOST_FRAMES,
    UNIT,
    BackoffTable,
    Counts,
    Smoothing,
)
from speechbrain_acom.entropy.priors.contract import (
    Predictor,
    Prior,
    check_count,
    checked_cardinalities,
    checked_codes,
)
from speechbrain_acom.entropy.priors.neighbours import (
    Neighbour,
    choose,
    context_size,
    events,
)
from speechbrain_acom.entropy.priors.varints import (
    NumberReader,
    ascending_gaps,
    write_varints,
)
from speechbrain_acom.errors import ConfigurationError, DataError

# What a context may reach back, and hold: both bound what a file can ask for.
MOST_EARLIER = 16
MOST_NEIGHBOURS = 32
# Entries of the rows that all tables of a prior keep together, twice 384 KiB:
# messages make them grow, so they are part of what a message may take. And the
# rows that each keeps whatever V is.
_CACHED_ENTRIES = 3 << 14
_FEWEST_ROWS = 4


class ContextPredictor(Predictor):
    """Gives the tables of a :class:`ContextPrior` in the contexts of a message.

    Arguments
    ---------
    tables : Sequence[BackoffTable]
        One a codebook.
    neighbours : Sequence[Sequence[Neighbour]]
        What the contexts of each are made of.
    """

    def __init__(
        self,
        tables: Sequence[BackoffTable],
        neighbours: Sequence[Sequence[Neighbour]],
    ) -> None:
        self._tables = tables
        self._neighbours = neighbours
        # The codes that each neighbour goes through, the next one first: V
        # before the first frame, then those of its codebook.
        self._coming = [
            [deque([table.sizes[-1]] * near.earlier) for near in nearest]
            for table, nearest in zip(tables, neighbours, strict=True)
        ]
        self._followers: list[list[deque]] = [[] for _ in tables]
        for codebook, nearest in enumerate(neighbours):
            for near, coming in zip(
                nearest, self._coming[codebook], strict=True
            ):
                self._followers[codebook - near.coarser].append(coming)

    def frequencies(self, codebook: int) -> np.ndarray:
        """Table of the next code, int64, shape (V_k,)."""
        context = tuple([coming[0] for coming in self._coming[codebook]])
        return self._tables[codebook].frequencies(context)

    def update(self, codebook: int, entry: int) -> None:
        """Go on to the next frame of a codebook."""
        for follower in self._followers[codebook]:
            follower.append(entry)
        for coming in self._coming[codebook]:
            coming.popleft()

    def constant_frequencies(self, codebook: int) -> np.ndarray | None:
        """Table of a codebook without context, int64, shape (V_k,)."""
        if self._neighbours[codebook]:
            return None
        return self._tables[codebook].frequencies(())


class ContextPrior(Prior):
    """Tables for what stands next to a code, of what training saw there.

    A code is predicted from earlier codes of its codebook and from coarser
    codes of its frame. Contexts that training saw seldom or never back off to
    shorter ones, see :class:`BackoffTable`. Only what was seen is kept: memory
    and file grow with the training codes, not with V. All is integers.

    Use :meth:`fit` to make one.

    Arguments
    ---------
    neighbours : Sequence[Sequence[Neighbour]]
        For every codebook, coarse to fine, what it is predicted from, the most
        telling first.
    tables : Sequence[BackoffTable]
        For every codebook, its counts in these contexts.

    Example
    -------
    >>> from speechbrain_acom.entropy.priors import StaticPrior
    >>> codes = np.array([[0], [1], [2]] * 20)
    >>> prior = ContextPrior.fit([codes], cardinalities=(3,), order=1)
    >>> prior.neighbours
    ((Neighbour(earlier=1, coarser=0),),)
    >>> prior.bits(codes) < 0.2 * StaticPrior.fit([codes], (3,)).bits(codes)
    True
    """

    KIND = 1

    def __init__(
        self,
        neighbours: Sequence[Sequence[Neighbour]],
        tables: Sequence[BackoffTable],
    ) -> None:
        self._neighbours = tuple(tuple(nearest) for nearest in neighbours)
        self._tables = tuple(tables)

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """Entries per codebook, coarse to fine: (V_1, ..., V_K)."""
        return tuple(table.sizes[-1] for table in self._tables)

    @property
    def neighbours(self) -> tuple[tuple[Neighbour, ...], ...]:
        """What each codebook is predicted from, the most telling first."""
        return self._neighbours

    @classmethod
    def fit(
        cls,
        codes: Iterable[np.ndarray],
        cardinalities: Sequence[int],
        order: int = 3,
        coarser: int = 4,
    ) -> "ContextPrior":
        """Count training codes in contexts that are worth it.

        The last eighth of the frames decides what each codebook is predicted
        from, and how contexts are smoothed; then all frames are counted.

        Arguments
        ---------
        codes : Iterable[np.ndarray]
            One integer array (frame, K) per training utterance.
        cardinalities : Sequence[int]
            Entries per codebook, coarse to fine.
        order : int
            Earlier frames that a code may be predicted from, 0 to 16.
        coarser : int
            Coarser codes of the same frame that it may be predicted from,
            nearest codebooks first, 0 to 16.

        Returns
        -------
        ContextPrior
            The fitted prior.

        Raises
        ------
        ConfigurationError
            If a V is not from 1 to 2^16, an array does not have K columns, or
            ``order`` or ``coarser`` is out of range.
        BitstreamError
            If a code is not an entry of its codebook.
        DataError
            If there is not a single frame, or more than 2^27.
        """
        for key, reach in (("order", order), ("coarser", coarser)):
            if not isinstance(reach, int) or not 0 <= reach <= MOST_EARLIER:
                raise ConfigurationError(
                    key, reach, f"an integer from 0 to {MOST_EARLIER}"
                )
        cardinalities = checked_cardinalities(cardinalities)
        utterances = [checked_codes(one, cardinalities) for one in codes]
        frames = sum(map(len, utterances))
        if not 1 <= frames <= MOST_FRAMES:
            raise DataError(
                f"prior: found {frames} frames of codes, expected 1 to "
                f"{MOST_FRAMES}: fit it on the codes of the training set"
            )
        fitted = [
            _fitted(utterances, codebook, cardinalities, order, coarser)
            for codebook in range(len(cardinalities))
        ]
        return cls(*zip(*fitted, strict=True))

    def first(self, count: int) -> "ContextPrior":
        """The prior of the first codes of every frame, with the same tables."""
        check_count(count, len(self._tables))
        if count == len(self._tables):
            return self
        return ContextPrior(self._neighbours[:count], self._tables[:count])

    def predictor(self) -> ContextPredictor:
        """A predictor at the start of a message."""
        return ContextPredictor(self._tables, self._neighbours)

    def content(self) -> bytes:
        """K and V_1..V_K, then every codebook; all numbers are varints.

        A codebook is the number of neighbours; how much earlier and coarser
        each is; discount and strength of contexts of every length; and for
        every length the ascending numbers of :class:`Counts`, as how many they
        are and the gaps between them; last the counts, less 1.
        """
        numbers = [len(self._tables), *self.cardinalities]
        parts: list[np.ndarray] = [np.array(numbers)]
        for nearest, table in zip(self._neighbours, self._tables, strict=True):
            parts += _stored(nearest, table)
        return write_varints(np.concatenate(parts))

    @classmethod
    def from_content(cls, content: bytes) -> "ContextPrior":
        """The prior of what :meth:`content` gave; ValueError if none."""
        reader = NumberReader(content)
        cardinalities = checked_cardinalities(
            reader.numbers(reader.number()).tolist()
        )
        read = [
            _read(reader, codebook, cardinalities)
            for codebook in range(len(cardinalities))
        ]
        prior = cls(*zip(*read, strict=True))
        # One prior, one file: no longer forms of numbers, nothing at the end.
        if prior.content() != content:
            raise ValueError(
                "it is not what its own content would be stored as"
            )
        return prior


def _sizes(
    nearest: Sequence[Neighbour], codebook: int, cardinalities: Sequence[int]
) -> list[int]:
    """What each code of the contexts is below; V last."""
    sizes = [context_size(near, codebook, cardinalities) for near in nearest]
    return [*sizes, cardinalities[codebook]]


def _rows(cardinalities: Sequence[int]) -> int:
    """How many rows each table of a prior keeps in memory."""
    return max(_FEWEST_ROWS, _CACHED_ENTRIES // sum(cardinalities))


def _fitted(
    utterances: Sequence[np.ndarray],
    codebook: int,
    cardinalities: Sequence[int],
    order: int,
    coarser: int,
) -> tuple[tuple[Neighbour, ...], BackoffTable]:
    """What one codebook is predicted from, and its table."""
    candidates = [
        *(Neighbour(0, back) for back in range(1, min(coarser, codebook) + 1)),
        *(Neighbour(back, 0) for back in range(1, order + 1)),
    ]
    sizes = _sizes(candidates, codebook, cardinalities)
    observed = events(utterances, codebook, candidates, sizes[-1])
    choice = choose(observed, sizes)
    columns = [*choice.columns, -1]
    chosen = [sizes[column] for column in columns]
    table = BackoffTable(
        Counts.of(observed[:, columns], chosen),
        chosen,
        choice.smoothings,
        _rows(cardinalities),
    )
    return tuple(candidates[column] for column in choice.columns), table


def _stored(
    nearest: Sequence[Neighbour], table: BackoffTable
) -> list[np.ndarray]:
    """The numbers of one codebook."""
    pairs = [(near.earlier, near.coarser) for near in nearest]
    pairs += [(one.discount, one.strength) for one in table.smoothings]
    counts = table.counts
    parts = [np.array([len(nearest), *sum(pairs, ())])]
    for keys in (*counts.contexts, counts.entries):
        parts += [np.array([len(keys)]), ascending_gaps(keys)]
    return [*parts, counts.counts - 1]


def _read(
    reader: NumberReader, codebook: int, cardinalities: Sequence[int]
) -> tuple[tuple[Neighbour, ...], BackoffTable]:
    """One codebook of what :func:`_stored` gave."""
    length = reader.number()
    if length > MOST_NEIGHBOURS:
        raise ValueError(f"a context of {length} codes")
    nearest = tuple(Neighbour(*pair) for pair in _pairs(reader, length))
    for near in nearest:
        if (near.earlier == 0) == (near.coarser == 0):
            raise ValueError(f"no neighbour: {near}")
        if near.earlier > MOST_EARLIER or near.coarser > codebook:
            raise ValueError(f"out of reach: {near}")
    smoothings = [Smoothing(*pair) for pair in _pairs(reader, length + 1)]
    for one in smoothings:
        if one.discount >= UNIT or one.strength > MOST_FRAMES:
            raise ValueError(f"no smoothing: {one}")
    *contexts, entries = [
        reader.ascending(reader.number()) for _ in range(length + 1)
    ]
    counts = Counts(tuple(contexts), entries, reader.numbers(len(entries)) + 1)
    sizes = _sizes(nearest, codebook, cardinalities)
    counts.check(sizes)
    return nearest, BackoffTable(
        counts, sizes, smoothings, _rows(cardinalities)
    )


def _pairs(reader: NumberReader, count: int) -> list[list[int]]:
    """The next numbers, two at a time."""
    return reader.numbers(2 * count).reshape(-1, 2).tolist()
