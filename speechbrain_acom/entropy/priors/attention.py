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
    LOGARITHM_BITS,
    FixedLayer,
    falling_powers,
    powers_of_two,
)
from speechbrain_acom.entropy.priors.kernels import (
    ATTENDED,
    attended,
    compiled,
)
from speechbrain_acom.entropy.priors.span_sums import BLOCK_FRAMES
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
        """What distance adds to a score, and a half, shape (head, reach + 1).

        Frames are 0 (out of reach, as is the present one) to ``reach`` back.
        """
        steps = np.arange(-1, self.reach) * NAT
        slopes = np.arange(1, self.heads + 1)[:, np.newaxis]
        # The half is what rounds scores, halves up.
        falls = 0.5 - (steps >> slopes)
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
        both = self.match.activations(near)
        return both[:, : self.shape.width], both[:, self.shape.width :]

    def valued(self, embedded: np.ndarray) -> np.ndarray:
        """Values (frame, width) of embedded codes (frame, E)."""
        return self.value.activations(embedded)


class AttentionMemory:
    """Keys and values of the last frames of one codebook.

    They are kept in single precision, in which what saturates at 2^20 is
    exact.

    Arguments
    ---------
    shape : AttentionShape
        Sizes.
    """

    def __init__(self, shape: AttentionShape) -> None:
        self._shape = shape
        # A number of frames more, so that moving them costs next to nothing.
        rows = (shape.heads, shape.reach + BLOCK_FRAMES, shape.head_dim)
        self._keys = np.zeros(rows, dtype=np.float32)
        self._values = np.zeros(rows, dtype=np.float32)
        self._count = 0

    def looked_back(self, query: np.ndarray) -> np.ndarray:
        """What the next frame finds in those before it.

        Arguments
        ---------
        query : np.ndarray
            Of the frame behind the last one, shape (1, width).

        Returns
        -------
        np.ndarray
            Shape (1, width): each head's mean of the values of earlier
            frames, weighted with two to the power of the scores. A frame that
            has a score and a value of 0 stands for none of them.
        """
        first = max(0, self._count - self._shape.reach)
        means = compiled(attended, ATTENDED)(
            query[0] * 2.0**-_SCORE_SHIFT,
            self._keys,
            self._values,
            self._shape.falls,
            falling_powers(),
            first,
            self._count,
        )
        return means[np.newaxis]

    def followed(
        self, queries: np.ndarray, keys: np.ndarray, values: np.ndarray
    ) -> np.ndarray:
        """What frames that are all known find; they are taken note of.

        Arguments
        ---------
        queries, keys, values : np.ndarray
            Of the next frames, 64 or fewer, shape (frame, width).

        Returns
        -------
        np.ndarray
            Shape (frame, width), as :meth:`looked_back`.
        """
        before = self._count
        seen = np.concatenate(
            [self._keys[:, :before], self._by_head(keys)], axis=1
        )
        given = np.concatenate(
            [self._values[:, :before], self._by_head(values)], axis=1
        )
        asked = before + np.arange(len(queries))[:, np.newaxis]
        back = asked - np.arange(seen.shape[1])
        back[(back < 0) | (back > self._shape.reach)] = 0
        falls = self._shape.falls[:, back]
        self.append(keys, values)
        return self._means(queries, seen, given, falls)

    def append(self, keys: np.ndarray, values: np.ndarray) -> None:
        """Take note of frames, 64 or fewer, (frame, width)."""
        if self._count + len(keys) > self._keys.shape[1]:
            kept = slice(self._count - self._shape.reach, self._count)
            for rows in (self._keys, self._values):
                rows[:, : self._shape.reach] = rows[:, kept].copy()
            self._count = self._shape.reach
        places = slice(self._count, self._count + len(keys))
        self._keys[:, places] = self._by_head(keys)
        self._values[:, places] = self._by_head(values)
        self._count += len(keys)

    def _means(
        self,
        queries: np.ndarray,
        keys: np.ndarray,
        values: np.ndarray,
        falls: np.ndarray,
    ) -> np.ndarray:
        """Means of values, (query, width).

        Keys and values are of shape (head, frame, head_dim), what distance
        adds (head, query, frame).
        """
        asked = self._by_head(queries * 2.0**-_SCORE_SHIFT)
        products = asked @ keys.swapaxes(1, 2)
        scores = np.zeros((*products.shape[:2], products.shape[2] + 1))
        np.add(products, falls, out=scores[..., 1:])
        weights = powers_of_two(np.floor(scores, out=scores))
        totals = np.add.reduce(weights, axis=2, keepdims=True)
        sums = weights[..., 1:].astype(np.float64) @ values
        # Rounded, halves up: what an odd total has more than twice its half
        # makes no difference to integers.
        means = (sums.astype(np.int64) + (totals >> 1)) // totals
        shape = (len(queries), self._shape.width)
        return means.swapaxes(0, 1).reshape(shape).astype(np.float64)

    def _by_head(self, rows: np.ndarray) -> np.ndarray:
        """Rows (frame, width) as (head, frame, head_dim)."""
        split = (len(rows), self._shape.heads, self._shape.head_dim)
        return rows.reshape(split).swapaxes(0, 1)
