"""Priors that are no static tables to the coder, for tests of it."""

import numpy as np

from speechbrain_acom.entropy.priors import TOTAL_FREQUENCY, Predictor, Prior


class ToyPredictor(Predictor):
    """One entry, which the context says, takes all but a share of a table."""

    def __init__(self, cardinalities, share):
        self._sizes = cardinalities
        self._share = share
        self._codes = [[] for _ in cardinalities]

    def frequencies(self, codebook):
        size, codes = self._sizes[codebook], self._codes
        frame = len(codes[codebook])
        favourite = 1
        if frame:
            favourite += 3 * codes[codebook][-1]
        if codebook:
            favourite += 5 * codes[codebook - 1][frame]
        table = np.full(size, max(self._share // size, 1), dtype=np.int64)
        table[favourite % size] += TOTAL_FREQUENCY - table.sum()
        return table

    def update(self, codebook, entry):
        self._codes[codebook].append(entry)


class ToyPrior(Prior):
    """The share (of 2^24) of all entries that are not the favourite one."""

    KIND = 255

    def __init__(self, cardinalities, share=1 << 22):
        self._sizes = tuple(cardinalities)
        self.share = share

    @property
    def cardinalities(self):
        return self._sizes

    def predictor(self):
        return ToyPredictor(self._sizes, self.share)

    def first(self, count):
        return ToyPrior(self._sizes[:count], self.share)

    def content(self):
        return repr((self._sizes, self.share)).encode()

    @classmethod
    def from_content(cls, content):
        raise NotImplementedError

    def drawn(self, random, num_frames) -> np.ndarray:
        """Codes that have the probabilities of this prior, (frame, K)."""
        predictor = self.predictor()
        codes = np.zeros((num_frames, len(self._sizes)), dtype=np.int64)
        for frame in codes:
            for codebook in range(len(frame)):
                sums = predictor.frequencies(codebook).cumsum()
                point = random.integers(TOTAL_FREQUENCY)
                frame[codebook] = sums.searchsorted(point, side="right")
                predictor.update(codebook, int(frame[codebook]))
        return codes


class Stepped(Prior):
    """A static prior that keeps it to itself, and counts what it is asked."""

    KIND = 254

    def __init__(self, static):
        self._static = static
        self.asked = 0

    @property
    def cardinalities(self):
        return self._static.cardinalities

    def predictor(self):
        return SteppedPredictor(self, self._static.predictor())

    def first(self, count):
        return Stepped(self._static.first(count))

    def content(self):
        return self._static.content()

    @classmethod
    def from_content(cls, content):
        raise NotImplementedError


class SteppedPredictor(Predictor):
    def __init__(self, prior, static):
        self._prior = prior
        self._static = static

    def frequencies(self, codebook):
        self._prior.asked += 1
        return self._static.frequencies(codebook)

    def update(self, codebook, entry):
        pass
