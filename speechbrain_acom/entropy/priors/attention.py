"""Attention of a neural prior to past frames, in integers.

A frame asks with a query, a past frame answers where its key is like it, and
gives a value (Vaswani et al., "Attention is all you need", 2017). Keys tell
what came before a frame, values which code it had: so a code that followed
such a past once is likelier now.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from speechbrain_acom.entropy.priors.fixed_point import (
    ACTIVATION_BITS,
    LARGEST_ACTIVATION,
    LOGARITHM_BITS,
    FixedLayer,
    powers_of_two,
)
from speechbrain_acom.errors import ConfigurationError

# Sums of weights of 22 bits times values of 20 bits stay below 2^52.
LARGEST_REACH = 1000
# Products of keys and queries stay below 2^52, too.
LARGEST_WIDTH = 1 << 12
# A frame farther back loses 1/2 nat at the first head, 1/4 at the second, and
# so on (Press et al., "Train short, test long", 2021), as a logarithm to base 2
# of 10 fraction bits.
NAT = 1477
_SCORE_SHIFT = 2 * ACTIVATION_BITS - LOGARITHM_BITS
# As good as never.
_OUT_OF_REACH = -(1 << 40)


@dataclass(frozen=True)
class AttentionShape:
    """How much is attended to, and how finely.

    Arguments
    ---------
    heads : int
        Ways of looking back, the first one at the nearest frames.
    head_dim : int
        Numbers of a query, of a key and of a value.
    key_frames : int
        Frames before a frame that its query and its key describe.
    reach : int
        Frames that are looked back, at most 1000.

    Raises
    ------
    ConfigurationError
        If one of these is out of its range.
    """

    heads: int
    head_dim: int
    key_frames: int
    reach: int

    def __post_init__(self) -> None:
        given = (self.heads, self.head_dim, self.key_frames, self.reach)
        if (
            min(given) < 1
            or self.width > LARGEST_WIDTH
            or self.reach > LARGEST_REACH
        ):
            raise ConfigurationError(
                "attention_heads, head_dim, key_frames, attention_frames",
                given,
                f"at least 1 each, of heads times numbers {LARGEST_WIDTH} and "
                f"of frames {LARGEST_REACH} at most",
            )

    @property
    def width(self) -> int:
        """Numbers that all heads give together."""
        return self.heads * self.head_dim

    @cached_property
    def falls(self) -> np.ndarray:
        """What distance takes from a score, shape (head, reach + 1).

        Frames are 0 (out of reach, as is the present one) to ``reach`` back.
        """
        steps = np.arange(-1, self.reach) * NAT
        slopes = np.arange(1, self.heads + 1)[:, np.newaxis]
        falls = -(steps >> slopes).astype(np.float64)
        falls[:, 0] = _OUT_OF_REACH
        return falls


@dataclass(frozen=True)
class CodebookAttention:
    """The layers with which one codebook looks back.

    Arguments
    ---------
    shape : AttentionShape
        Sizes.
    match : FixedLayer
        From what describes a frame's past to its query, then its key, both of
        12 fraction bits; a product of them is a logarithm to base 2.
    value : FixedLayer
        From the embedding of a frame's code to its value.
    """

    shape: AttentionShape
    match: FixedLayer
    value: FixedLayer

    @property
    def size(self) -> int:
        """Weights and biases."""
        layers = (self.match, self.value)
        return sum(each.weights.size + each.bias.size for each in layers)

    def matched(self, near: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Queries and keys, each (frame, width), of frames.

        Arguments
        ---------
        near : np.ndarray
            What describes the past of each, shape (frame, input).
        """
        both = _limited(self.match(near))
        return both[:, : self.shape.width], both[:, self.shape.width :]

    def valued(self, embedded: np.ndarray) -> np.ndarray:
        """Values (frame, width) of embedded codes (frame, E)."""
        return _limited(self.value(embedded))


class AttentionMemory:
    """Keys and values of the last frames of one codebook.

    At most ``reach`` of them are kept, in eight bytes a key and its value.

    Arguments
    ---------
    shape : AttentionShape
        Sizes.
    """

    def __init__(self, shape: AttentionShape) -> None:
        self._shape = shape
        # What saturates at 2^20 is exact in single precision.
        self._keys = np.empty((0, shape.width), dtype=np.float32)
        self._values = self._keys

    def attended(
        self,
        queries: np.ndarray,
        keys: np.ndarray,
        values: np.ndarray,
        start: int,
    ) -> np.ndarray:
        """Take note of frames, and look back from some.

        Arguments
        ---------
        queries : np.ndarray
            Of consecutive frames, shape (query, width).
        keys, values : np.ndarray
            Of the frames that follow those in the memory, shape (frame,
            width).
        start : int
            The frame of the first query, counted from the first one of
            ``keys``; there may be queries of the frame behind the last key.

        Returns
        -------
        np.ndarray
            Shape (query, width): each head's mean of the values of earlier
            frames, weighted with two to the power of the scores. A frame that
            has a score and a value of 0 stands for none of them.
        """
        before = len(self._keys)
        keys = np.concatenate([self._keys, keys])
        values = np.concatenate([self._values, values])
        kept = slice(max(0, len(keys) - self._shape.reach), None)
        self._keys = keys[kept].astype(np.float32)
        self._values = values[kept].astype(np.float32)
        asked = before + start + np.arange(len(queries))
        return self._mean(queries, keys, values, asked)

    def _mean(
        self,
        queries: np.ndarray,
        keys: np.ndarray,
        values: np.ndarray,
        asked: np.ndarray,
    ) -> np.ndarray:
        back = asked[:, np.newaxis] - np.arange(len(keys))
        back[(back < 0) | (back > self._shape.reach)] = 0
        products = self._by_head(queries) @ self._by_head(keys).swapaxes(1, 2)
        scores = np.floor(products * 2.0**-_SCORE_SHIFT + 0.5)
        scores += self._shape.falls[:, back]
        none = np.zeros((*scores.shape[:2], 1))
        weights = powers_of_two(np.concatenate([none, scores], axis=2))
        totals = weights.sum(axis=2, keepdims=True)
        sums = weights[..., 1:].astype(np.float64) @ self._by_head(values)
        # Rounded, halves up.
        means = (2 * sums.astype(np.int64) + totals) // (2 * totals)
        shape = (len(queries), self._shape.width)
        return means.swapaxes(0, 1).reshape(shape).astype(np.float64)

    def _by_head(self, rows: np.ndarray) -> np.ndarray:
        """Rows (frame, width) as float64, shape (head, frame, head_dim)."""
        split = (len(rows), self._shape.heads, self._shape.head_dim)
        return rows.astype(np.float64).reshape(split).swapaxes(0, 1)


def _limited(values: np.ndarray) -> np.ndarray:
    return np.clip(values, -LARGEST_ACTIVATION, LARGEST_ACTIVATION)
