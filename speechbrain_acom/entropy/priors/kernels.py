"""What the neural prior computes of one frame, as loops over numbers.

A decoder has one frame at a time, and so little to do for it that a library of
arrays takes longer for its calls than for their sums. :func:`compiled` makes
machine code of a loop. All values are integers; every sum stays where its
type holds each of them, so that these give what ``FixedLayer`` and
``AttentionMemory`` give of many frames at once, in whatever order they add.
"""

from collections.abc import Callable
from functools import cache

import numpy as np


@cache
def compiled(kernel: Callable, signature: str) -> Callable:
    """A loop as machine code, kept on disk beside its source or in the cache.

    Arguments
    ---------
    kernel : Callable
        A function of this module.
    signature : str
        What it gives and takes, in the words of numba.

    Returns
    -------
    Callable
        It takes just these types.

    Example
    -------
    >>> weights, values = np.ones((1, 2)), np.array([5.0, 2.0])
    >>> layer = compiled(affine, AFFINE)
    >>> layer(weights, np.zeros(1), values, -np.inf, 6.0).tolist()
    [6.0]
    """
    # A third of a second, which only those with a neural prior wait for.
    from numba import njit

    # Sums may be taken in any order, and must be for several at a time.
    exact_in_any_order = {"reassoc", "contract"}
    try:
        return njit(signature, cache=True, fastmath=exact_in_any_order)(kernel)
    except (RuntimeError, OSError):
        # There is no folder to write to, or no space.
        return njit(signature, fastmath=exact_in_any_order)(kernel)


AFFINE = (
    "float64[::1](float64[:, ::1], float64[::1], float64[::1], float64, "
    "float64)"
)


def affine(
    weights: np.ndarray,
    bias: np.ndarray,
    inputs: np.ndarray,
    least: float,
    most: float,
) -> np.ndarray:
    """W x, rounded, halves up, plus b.

    Arguments
    ---------
    weights : np.ndarray
        W, shape (output, input).
    bias : np.ndarray
        b, shape (output,), integers.
    inputs : np.ndarray
        x, shape (input,), integers.
    least, most : float
        What results below and above these become.

    Returns
    -------
    np.ndarray
        Integers in float64, shape (output,).
    """
    found = np.empty_like(bias)
    for row in range(len(bias)):
        total = 0.0
        for column in range(len(inputs)):
            total += weights[row, column] * inputs[column]
        rounded = np.floor(total + 0.5) + bias[row]
        found[row] = min(max(rounded, least), most)
    return found


TABLE = "int64[::1](float64[::1], int64[::1], int64)"


def table(logarithms: np.ndarray, powers: np.ndarray, total: int) -> np.ndarray:
    """The frequencies of entries with these logarithms.

    What ``scaled(powers_of_two(logarithms))`` gives.

    Arguments
    ---------
    logarithms : np.ndarray
        Integers, shape (V,).
    powers : np.ndarray
        Weights that fall with the distance from the largest logarithm, the
        last of them 0.
    total : int
        What frequencies sum to.

    Returns
    -------
    np.ndarray
        int64, shape (V,), each at least 1.
    """
    size, last = len(logarithms), len(powers) - 1
    largest = np.argmax(logarithms)
    found = np.empty(size, dtype=np.int64)
    whole = 0
    for entry in range(size):
        below = min(logarithms[largest] - logarithms[entry], last)
        found[entry] = powers[int(below)]
        whole += found[entry]
    given = 0
    for entry in range(size):
        found[entry] = found[entry] * (total - size) // whole + 1
        given += found[entry]
    found[largest] += total - given
    return found


ATTENDED = (
    "float64[::1](float64[::1], float32[:, :, ::1], float32[:, :, ::1], "
    "float64[:, ::1], int64[::1], int64, int64)"
)


def attended(
    query: np.ndarray,
    keys: np.ndarray,
    values: np.ndarray,
    falls: np.ndarray,
    powers: np.ndarray,
    first: int,
    count: int,
) -> np.ndarray:
    """Means of past values, weighted with how keys answer a query.

    Arguments
    ---------
    query : np.ndarray
        Of frame number ``count``, shape (head * number,), as many fraction
        bits fewer as scores have fewer than products.
    keys, values : np.ndarray
        Of past frames, shape (head, frame, number), integers.
    falls : np.ndarray
        What distance adds to a score, and the half that rounds it, shape
        (head, distance).
    powers : np.ndarray
        As for :func:`table`.
    first, count : int
        Which frames are looked back to: from this one on, before that one.

    Returns
    -------
    np.ndarray
        Integers in float64, shape (head * number,).
    """
    heads, _, width = keys.shape
    found = np.empty(heads * width)
    weights = np.empty(count - first)
    sums = np.empty(width)
    last = len(powers) - 1
    for head in range(heads):
        # The score of none of them is 0.
        best = 0.0
        for place in range(count - first):
            score = 0.0
            for number in range(width):
                asked = query[head * width + number]
                score += asked * keys[head, first + place, number]
            score = np.floor(score + falls[head, count - first - place])
            weights[place] = score
            best = max(best, score)
        whole = powers[int(min(best, last))]
        sums[:] = 0.0
        for place in range(count - first):
            weight = powers[int(min(best - weights[place], last))]
            whole += weight
            for number in range(width):
                value = values[head, first + place, number]
                sums[number] += float(weight) * value
        for number in range(width):
            mean = (int(sums[number]) + (whole >> 1)) // whole
            found[head * width + number] = mean
    return found
