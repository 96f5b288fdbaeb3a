"""Fixed-point arithmetic of the neural prior: the same on every machine.

Values are integers that stand for a number of some fraction bits: v means
v / 2^bits. They are kept in float64, because its matrix products are fast,
and every sum stays below 2^52, where float64 holds each integer: whatever
order a library adds in, the result is the same to the bit.
"""

from dataclasses import dataclass
from functools import cache, cached_property
from math import inf, isqrt

import numpy as np

from speechbrain_acom.entropy.priors.kernels import AFFINE, affine, compiled
from speechbrain_acom.errors import ConfigurationError

# Activations have this many fraction bits, and saturate at a value of 256.
ACTIVATION_BITS = 12
LARGEST_ACTIVATION = (1 << 20) - 1
# Logarithms to base 2: of a step of 2^-10, which is 0.07 % of a probability.
LOGARITHM_BITS = 10
LARGEST_SUM = 1 << 52

WEIGHT_BITS = 16
_LARGEST_WEIGHT = (1 << WEIGHT_BITS - 1) - 1
_MOST_FRACTION_BITS = 24
# 2^0 of `powers_of_two`. The sum over 2^16 entries times 2^24, what a table
# sums to, stays below 2^63.
_UNIT_BITS = 22
# Of `powers_of_two`, from where on they are 0.
_LAST_STEP = (_UNIT_BITS + 1) << LOGARITHM_BITS


@dataclass(frozen=True)
class FixedLayer:
    """An affine map of integers: W x, shifted right and rounded, plus b.

    Arguments
    ---------
    weights : np.ndarray
        W, shape (output, input), float64 that holds 16-bit integers.
    shift : int
        How many bits fewer the result has than W x.
    bias : np.ndarray
        b, shape (output,), float64 that holds 32-bit integers.

    Example
    -------
    >>> layer = FixedLayer(np.array([[3.0, 1.0]]), 2, np.array([10.0]))
    >>> layer(np.array([[5.0, -4.0]])).tolist()
    [[13.0]]
    """

    weights: np.ndarray
    shift: int
    bias: np.ndarray

    def __call__(
        self, inputs: np.ndarray, least: float = -inf, most: float = inf
    ) -> np.ndarray:
        """Map integers, shape (frame, input), to (frame, output).

        Arguments
        ---------
        inputs : np.ndarray
            Integers in float64, shape (frame, input).
        least, most : float
            What results below and above these become.

        Returns
        -------
        np.ndarray
            Integers in float64, shape (frame, output).
        """
        if len(inputs) == 1:
            kernel = compiled(affine, AFFINE)
            row = kernel(self._shifted, self._added, inputs[0], least, most)
            return row[np.newaxis]
        sums = inputs @ self._shifted.T
        # Halves are rounded up.
        sums += 0.5
        np.floor(sums, out=sums)
        sums += self.bias
        # The output's layer, the widest, has no limits.
        return sums if most == inf else np.clip(sums, least, most, out=sums)

    def activations(
        self, inputs: np.ndarray, least: int = -LARGEST_ACTIVATION
    ) -> np.ndarray:
        """What :meth:`__call__` gives, saturated at 2^20 - 1 and ``least``."""
        return self(inputs, least, LARGEST_ACTIVATION)

    @cached_property
    def _shifted(self) -> np.ndarray:
        """W times a power of two, which is exact."""
        return np.ascontiguousarray(self.weights * 2.0**-self.shift)

    @cached_property
    def _added(self) -> np.ndarray:
        """b, which may be written to: kernels take no other arrays."""
        return np.array(self.bias, dtype=np.float64)

    def check(self, bounds: np.ndarray) -> None:
        """Raise ConfigurationError if a sum could be inexact.

        Arguments
        ---------
        bounds : np.ndarray
            Largest magnitude of each input, shape (input,).
        """
        if self.weights.shape != (len(self.bias), len(bounds)):
            raise ConfigurationError(
                "neural prior",
                f"weights of shape {self.weights.shape}",
                f"{(len(self.bias), len(bounds))}, as many as its neighbours",
            )
        largest = (np.abs(self.weights) @ bounds).max()
        if not largest < LARGEST_SUM:
            raise ConfigurationError(
                "neural prior",
                f"sums up to {largest:.3g}",
                f"less than {LARGEST_SUM}: make the network smaller",
            )


def fixed_layer(
    weights: np.ndarray, bias: np.ndarray, input_bits: int, output_bits: int
) -> FixedLayer:
    """Round an affine map of floats.

    Arguments
    ---------
    weights : np.ndarray
        Floats, shape (output, input).
    bias : np.ndarray
        Floats, shape (output,).
    input_bits, output_bits : int
        Fraction bits of the inputs and of the results.

    Returns
    -------
    FixedLayer
        The map of integers.

    Example
    -------
    >>> fixed_layer(np.array([[0.75]]), np.array([2.0]), 12, 12)
    FixedLayer(weights=array([[24576.]]), shift=15, bias=array([8192.]))
    """
    weight_bits = max(fraction_bits(weights), output_bits - input_bits)
    return FixedLayer(
        rounded(weights, weight_bits),
        input_bits + weight_bits - output_bits,
        np.rint(np.asarray(bias, dtype=np.float64) * 2.0**output_bits),
    )


def fraction_bits(values: np.ndarray) -> int:
    """The most fraction bits with which all values fit 16 bits.

    Example
    -------
    >>> fraction_bits(np.array([0.5, -3.0]))
    13
    """
    largest = float(np.abs(values).max(initial=0))
    bits = _MOST_FRACTION_BITS
    while bits > 0 and largest * 2.0**bits > _LARGEST_WEIGHT:
        bits -= 1
    return bits


def rounded(values: np.ndarray, bits: int) -> np.ndarray:
    """Floats as 16-bit integers of that many fraction bits, as float64.

    What does not fit saturates.

    Example
    -------
    >>> rounded(np.array([0.5, -3.0]), 13).tolist()
    [4096.0, -24576.0]
    """
    scaled_up = np.rint(np.asarray(values, dtype=np.float64) * 2.0**bits)
    return np.clip(scaled_up, -_LARGEST_WEIGHT, _LARGEST_WEIGHT)


def powers_of_two(logarithms: np.ndarray) -> np.ndarray:
    """Weights in proportion to 2^logarithm, the largest of a row 2^22.

    Arguments
    ---------
    logarithms : np.ndarray
        Integers of 10 fraction bits in float64, shape (..., V).

    Returns
    -------
    np.ndarray
        int64, shape (..., V). What is 2^23 times rarer than the largest or
        more gets 0.

    Example
    -------
    >>> powers_of_two(np.array([1024.0, 0.0, -512.0])).tolist()
    [4194304, 2097152, 1482910]
    """
    below = logarithms.max(axis=-1, keepdims=True) - logarithms
    steps = np.minimum(below, _LAST_STEP).astype(np.int64)
    return falling_powers().take(steps)


@cache
def falling_powers() -> np.ndarray:
    """2^(22 - i / 1024), rounded down from 64 bits, until nothing is left.

    Returns
    -------
    np.ndarray
        int64, shape (step,), the last ones 0.
    """
    # Python's own integers: a library's exp2 may round otherwise elsewhere.
    precision = 64
    step = 1 << precision - 1
    # The 1024th root of a half, by ten square roots.
    for _ in range(LOGARITHM_BITS):
        step = isqrt(step << precision)
    powers = [1 << precision]
    for _ in range((1 << LOGARITHM_BITS) - 1):
        powers.append(powers[-1] * step >> precision)
    first = np.array([power >> precision - _UNIT_BITS for power in powers])
    octaves = np.arange(_UNIT_BITS + 2)[:, np.newaxis]
    return (first >> octaves).ravel()
