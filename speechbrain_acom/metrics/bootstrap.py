"""How sure a figure of a test set is: the paired bootstrap."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from speechbrain_acom.errors import DataError

SAMPLES = 2000
# Of a 95 % interval.
PERCENTILES = (2.5, 97.5)


@dataclass(frozen=True)
class Interval:
    """A figure and the 95 % interval round it.

    Arguments
    ---------
    value : float
        The figure of the test set.
    low : float
        Lower end of the interval.
    high : float
        Upper end of the interval.
    """

    value: float
    low: float
    high: float


def ratio_interval(
    numerators: Sequence[float] | np.ndarray,
    denominators: Sequence[float] | np.ndarray,
    groups: Sequence[str] | None = None,
    seed: int = 0,
) -> Interval:
    """Ratio of two sums over the same utterances.

    Utterances are drawn anew, with both of their numbers together, so that an
    utterance that is hard for both says nothing against either (Efron and
    Tibshirani, An introduction to the bootstrap, 1993, chapter 13).

    Arguments
    ---------
    numerators : Sequence[float] | np.ndarray
        Of each utterance, shape (utterance,): for example the bits of one
        coder.
    denominators : Sequence[float] | np.ndarray
        The same of the other coder, none of them below 0.
    groups : Sequence[str] | None
        Utterances of one group are drawn together: clips of one recording
        are no independent evidence. None: each is its own.
    seed : int
        Of the draws.

    Returns
    -------
    Interval
        Ratio of the sums, and where 95 % of the draws lie.

    Raises
    ------
    DataError
        If there are no utterances, not as many of each, or nothing but 0 in
        the denominators.

    Example
    -------
    >>> ratio_interval([1, 3], [2, 6])
    Interval(value=0.5, low=0.5, high=0.5)
    """
    above, below = _checked(numerators), _checked(denominators)
    if len(above) != len(below):
        raise DataError(
            f"bootstrap: found {len(above)} numerators and {len(below)} "
            "denominators, expected one of each an utterance"
        )
    pairs = np.stack([above, below], axis=1)
    if groups is not None:
        pairs = _summed(pairs, groups)
    total, base = pairs.sum(axis=0)
    if base <= 0:
        raise DataError(
            f"bootstrap: found {base} in the denominator, expected more than "
            "0: use other utterances"
        )
    generator = np.random.default_rng(seed)
    # How often each is drawn: the same as drawing, in a sum of products.
    shares = np.full(len(pairs), 1 / len(pairs))
    draws = generator.multinomial(len(pairs), shares, size=SAMPLES)
    tops, bottoms = (draws @ pairs).T
    kept = bottoms > 0
    low, high = np.percentile(tops[kept] / bottoms[kept], PERCENTILES)
    return Interval(float(total / base), float(low), float(high))


def _checked(values: Sequence[float] | np.ndarray) -> np.ndarray:
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or not len(values):
        raise DataError(
            f"bootstrap: found numbers of shape {values.shape}, expected one "
            "an utterance"
        )
    return values


def _summed(pairs: np.ndarray, groups: Sequence[str]) -> np.ndarray:
    """Sums of each group, shape (group, 2)."""
    if len(groups) != len(pairs):
        raise DataError(
            f"bootstrap: found {len(groups)} groups of {len(pairs)} "
            "utterances, expected one each"
        )
    names, numbers = np.unique(np.asarray(groups), return_inverse=True)
    sums = np.zeros((len(names), pairs.shape[1]))
    np.add.at(sums, numbers, pairs)
    return sums
