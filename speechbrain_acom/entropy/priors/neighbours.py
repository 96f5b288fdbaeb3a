"""Which codes a code is predicted from: chosen on frames kept apart."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from speechbrain_acom.entropy.priors.backoff import (
    UNIT,
    Counts,
    Smoothing,
    levels,
)
from speechbrain_acom.entropy.priors.contract import TOTAL_FREQUENCY

# Share of the frames, the last ones, that choices are made on; and how many
# are enough.
_KEPT_APART = 8
_MOST_KEPT_APART = 1 << 16
# A longer context has to save this share of the bits to be worth its counts.
_LEAST_GAIN = 0.002

_FIRST_GUESS = Smoothing(discount=10, strength=4)
_SMOOTHINGS = tuple(
    Smoothing(discount, strength)
    for discount in (1, 3, 6, 8, 10, 12, 13, 14, 15)
    for strength in (0, 1, 2, 4, 8, 16, 32, 64)
)


@dataclass(frozen=True)
class Neighbour:
    """One code that the next code of a codebook is predicted from.

    Arguments
    ---------
    earlier : int
        Frames back in the same codebook; 0 for a code of the same frame.
    coarser : int
        Codebooks back in the same frame; 0 for a code of the same codebook.
    """

    earlier: int
    coarser: int


@dataclass(frozen=True)
class Choice:
    """What a codebook is predicted with.

    Arguments
    ---------
    columns : tuple[int, ...]
        Columns of the events that are the context, the most telling first.
    smoothings : tuple[Smoothing, ...]
        For contexts of every length, from none to all of these.
    """

    columns: tuple[int, ...]
    smoothings: tuple[Smoothing, ...]


def context_size(
    neighbour: Neighbour, codebook: int, cardinalities: Sequence[int]
) -> int:
    """What the code of a neighbour is below."""
    if neighbour.coarser:
        return cardinalities[codebook - neighbour.coarser]
    # One more than there are codes: before the first frame there is none.
    return cardinalities[codebook] + 1


def events(
    utterances: Sequence[np.ndarray],
    codebook: int,
    neighbours: Sequence[Neighbour],
    size: int,
) -> np.ndarray:
    """Every code of a codebook with its neighbours.

    Arguments
    ---------
    utterances : Sequence[np.ndarray]
        Integer arrays (frame, K).
    codebook : int
        k.
    neighbours : Sequence[Neighbour]
        The neighbours.
    size : int
        V_k, which also stands for the code before the first frame.

    Returns
    -------
    np.ndarray
        int64, shape (frame, neighbours + 1): the code itself is last.
    """
    columns = []
    for neighbour in (*neighbours, Neighbour(0, 0)):
        parts = []
        for utterance in utterances:
            codes = utterance[:, codebook - neighbour.coarser]
            before = np.full(min(neighbour.earlier, len(codes)), size)
            kept = codes[: len(codes) - len(before)]
            parts.append(np.concatenate([before, kept]))
        columns.append(np.concatenate(parts))
    return np.stack(columns, axis=1).astype(np.int64)


def choose(observed: np.ndarray, sizes: Sequence[int]) -> Choice:
    """Choose the context of a codebook, one neighbour after the other.

    The context grows by the neighbour that saves most bits on the frames kept
    apart, and ends where none saves anything to speak of. With less than eight
    frames there is nothing to choose by, and no context.

    Arguments
    ---------
    observed : np.ndarray
        What :func:`events` gave for all neighbours that may be chosen.
    sizes : Sequence[int]
        What each column is below; V last.

    Returns
    -------
    Choice
        The best context found, and its smoothing.
    """
    num_apart = min(len(observed) // _KEPT_APART, _MOST_KEPT_APART)
    choice = Choice((), (_FIRST_GUESS,))
    if num_apart == 0:
        return choice
    counted, apart = observed[:-num_apart], observed[-num_apart:]
    bits, choice = _smoothed(counted, apart, sizes, choice)
    while True:
        longer = [
            _smoothed(
                counted,
                apart,
                sizes,
                Choice(
                    (*choice.columns, column),
                    (*choice.smoothings, _FIRST_GUESS),
                ),
            )
            for column in range(len(sizes) - 1)
            if column not in choice.columns
        ]
        least, longest = min(
            longer, key=lambda one: one[0], default=(bits, choice)
        )
        if least >= bits * (1 - _LEAST_GAIN):
            return choice
        bits, choice = least, longest


def _smoothed(
    counted: np.ndarray,
    apart: np.ndarray,
    sizes: Sequence[int],
    choice: Choice,
) -> tuple[float, Choice]:
    """Bits of the frames kept apart, and the smoothing that makes them few."""
    columns = [*choice.columns, -1]
    looked_up = _looked_up(
        counted[:, columns], apart[:, columns], [sizes[c] for c in columns]
    )
    best = list(choice.smoothings)
    least = _bits(looked_up, best, sizes[-1])
    # Shorter contexts hardly change when a context grows, except the longest.
    changing = range(max(0, len(best) - 2), len(best))
    for length in [*reversed(changing)] * 2:
        for smoothing in _SMOOTHINGS:
            tried = [*best]
            tried[length] = smoothing
            bits = _bits(looked_up, tried, sizes[-1])
            if bits < least:
                least, best = bits, tried
    return least, Choice(choice.columns, tuple(best))


@dataclass(frozen=True)
class _LookedUp:
    """What the counts say of each frame kept apart, shapes (frame,)."""

    seen: np.ndarray
    count: np.ndarray
    total: np.ndarray
    types: np.ndarray


def _looked_up(
    counted: np.ndarray, apart: np.ndarray, sizes: Sequence[int]
) -> list[_LookedUp]:
    """For contexts of every length, from none to all codes."""
    counts = Counts.of(counted, sizes)
    nodes = np.zeros(len(apart), dtype=np.int64)
    seen = np.ones(len(apart), dtype=bool)
    found = []
    for length, level in enumerate(levels(counts, sizes)):
        if length:
            keys = nodes * sizes[length - 1] + apart[:, length - 1]
            nodes, hit = _bisected(counts.contexts[length - 1], keys)
            seen = seen & hit
        place, hit = _bisected(level.entries, nodes * sizes[-1] + apart[:, -1])
        found.append(
            _LookedUp(
                seen,
                np.where(seen & hit, level.counts[place], 0),
                level.totals[nodes],
                np.diff(level.starts)[nodes],
            )
        )
    return found


def _bisected(
    ascending: np.ndarray, keys: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Where keys stand, or some other place, and whether they are there."""
    places = np.searchsorted(ascending, keys).clip(max=len(ascending) - 1)
    return places, ascending[places] == keys


def _bits(
    looked_up: Sequence[_LookedUp], smoothings: Sequence[Smoothing], size: int
) -> float:
    """What the frames kept apart cost, as in `backoff.BackoffTable`."""
    share = np.full(len(looked_up[0].seen), 1 / size)
    for level, smoothing in zip(looked_up, smoothings, strict=True):
        discount = smoothing.discount / UNIT
        given_away = smoothing.strength + discount * level.types
        kept = np.where(level.count > 0, level.count - discount, 0)
        mixed = (kept + given_away * share) / (level.total + smoothing.strength)
        share = np.where(level.seen, mixed, share)
    return float(-np.log2(np.maximum(share, 1 / TOTAL_FREQUENCY)).sum())
