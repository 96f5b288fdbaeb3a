"""Rounding weights to the integer tables of the coder, without floats."""

import numpy as np

from speechbrain_acom.entropy.priors.contract import TOTAL_FREQUENCY


def scaled(weights: np.ndarray, total: int = TOTAL_FREQUENCY) -> np.ndarray:
    """Weights as frequencies that sum to a total, none of them below 1.

    Every entry gets 1, and its share of the rest rounded down; what rounding
    leaves goes to the largest. A table of many rare entries therefore loses
    at most V / total of its mass.

    Arguments
    ---------
    weights : np.ndarray
        Integers of at least 0, shape (..., V), not all 0; their sum times
        ``total`` is below 2^63.
    total : int
        What the frequencies sum to.

    Returns
    -------
    np.ndarray
        int64, shape (..., V).

    Example
    -------
    >>> scaled(np.array([6, 2, 0]), total=16).tolist()
    [11, 4, 1]
    """
    size = weights.shape[-1]
    weights = weights.astype(np.int64)
    sums = weights.sum(axis=-1, keepdims=True)
    frequencies = 1 + weights * (total - size) // sums
    rows = frequencies.reshape(-1, size)
    rest = total - rows.sum(axis=1)
    largest = weights.reshape(-1, size).argmax(axis=1)
    rows[np.arange(len(rows)), largest] += rest
    return frequencies
