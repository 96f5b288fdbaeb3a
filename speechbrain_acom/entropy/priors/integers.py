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
    rows = weights.astype(np.int64).reshape(-1, weights.shape[-1])
    # A row alone, as decoders have them, takes half as long as one of many.
    if len(rows) == 1:
        _scale_row(rows[0], total)
    else:
        _scale_rows(rows, total)
    return rows.reshape(weights.shape)


def _scale_row(row: np.ndarray, total: int) -> None:
    largest = row.argmax()
    whole = int(np.add.reduce(row))
    row *= total - len(row)
    row //= whole
    row += 1
    row[largest] += total - int(np.add.reduce(row))


def _scale_rows(rows: np.ndarray, total: int) -> None:
    largest = rows.argmax(axis=1)
    sums = rows.sum(axis=1, keepdims=True)
    rows *= total - rows.shape[1]
    rows //= sums
    rows += 1
    rows[np.arange(len(rows)), largest] += total - rows.sum(axis=1)
