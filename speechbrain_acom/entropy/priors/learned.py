"""What the codes of a message say about those that follow, in integers."""

import numpy as np

from speechbrain_acom.entropy.priors.contract import (
    PRECISION_BITS,
    TOTAL_FREQUENCY,
)
from speechbrain_acom.entropy.priors.integers import scaled

# Codes after which all that was learned counts half: memory stays bounded, and
# what is long past is forgotten. Five minutes at 25 frames/s.
WINDOW = 1 << 13
# A code counts two, of which a new context gives one away.
_CODE = 2
# How often a code came is held against how often it was expected, both with a
# start of this part of the strength.
_START = 4
_RATIO_BITS = 16
# Weights may sum to at most 2^39 before they are rounded to frequencies.
_SUM_BITS = 39

_SHARE_BITS = 16
_FIRST_SHARE = (1 << _SHARE_BITS) // 10
# After each code, 1/512 of the way back to the first share.
_RETURN_BITS = 9


class LearnedTable:
    """One codebook's frequencies, corrected by the message so far.

    The base's table is corrected twice. Each code is weighted with how often
    it came, over how often it was expected. Then what followed the previous
    code in this message is counted, with the weighted table as the context to
    back off to. The result and the base's own table are mixed in proportion to
    how well each predicted so far, so that a message which teaches nothing
    costs next to nothing.

    Arguments
    ---------
    size : int
        V.
    strength : int
        Counts that the base is worth: a context that came that often is half
        learned, half the base's.
    """

    def __init__(self, size: int, strength: int) -> None:
        self._strength = strength
        self._start = max(1, strength // _START) << PRECISION_BITS
        self._came = np.zeros(size, dtype=np.int64)
        self._expected = np.zeros(size, dtype=np.int64)
        self._after: dict[int, dict[int, int]] = {}
        # V stands for the code before the first frame.
        self._previous = size
        self._codes = 0
        self._share = _FIRST_SHARE

    def corrected(self, base: np.ndarray) -> np.ndarray:
        """The base's table as this message corrects it.

        Arguments
        ---------
        base : np.ndarray
            int64, shape (V,), each at least 1, sum 2^24.

        Returns
        -------
        np.ndarray
            int64, shape (V,), each at least 1, sum 2^24.
        """
        came = self._came * (TOTAL_FREQUENCY // _CODE) + self._start
        ratios = (came << _RATIO_BITS) // (self._expected + self._start)
        # Two bits more than the base's, so that rare codes keep theirs.
        weights = (base * ratios) >> _RATIO_BITS - 2
        followers = self._after.get(self._previous)
        if followers:
            weights = self._backed_off(weights, followers)
        return scaled(weights)

    def mixed(self, base: np.ndarray, corrected: np.ndarray) -> np.ndarray:
        """Both tables by what they proved to be worth; as either of them."""
        share = self._share
        both = base * ((1 << _SHARE_BITS) - share) + corrected * share
        both >>= _SHARE_BITS
        both[both.argmax()] += TOTAL_FREQUENCY - int(both.sum())
        return both

    def learn(self, base: np.ndarray, corrected: np.ndarray, code: int) -> None:
        """Take note of the code that followed.

        Arguments
        ---------
        base : np.ndarray
            The base's table, in which the code was expected.
        corrected : np.ndarray
            What :meth:`corrected` made of it.
        code : int
            The code.
        """
        good = self._share * int(corrected[code])
        other = ((1 << _SHARE_BITS) - self._share) * int(base[code])
        self._share = (good << _SHARE_BITS) // (good + other)
        self._share += _FIRST_SHARE - self._share >> _RETURN_BITS
        self._came[code] += _CODE
        self._expected += base
        followers = self._after.setdefault(self._previous, {})
        followers[code] = followers.get(code, 0) + _CODE
        self._previous = code
        self._codes += 1
        if self._codes == WINDOW:
            self._forget()

    def _backed_off(
        self, weights: np.ndarray, followers: dict[int, int]
    ) -> np.ndarray:
        """Weights with what followed the previous code, in absolute counts."""
        codes = np.fromiter(followers, dtype=np.int64)
        counts = np.fromiter(followers.values(), dtype=np.int64)
        whole = int(weights.sum())
        strength = _CODE * self._strength
        total = whole * (int(counts.sum()) + strength)
        weights = weights * (strength + len(codes))
        weights[codes] += (counts - 1) * whole
        return weights >> max(0, total.bit_length() - _SUM_BITS)

    def _forget(self) -> None:
        """Let all that was learned count half."""
        self._codes >>= 1
        self._came >>= 1
        self._expected >>= 1
        halved = {
            previous: {
                code: count >> 1
                for code, count in followers.items()
                if count > 1
            }
            for previous, followers in self._after.items()
        }
        self._after = {
            previous: followers
            for previous, followers in halved.items()
            if followers
        }
