"""Priors that learn from the message so far."""

import struct
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from speechbrain_acom.entropy.priors.context import ContextPrior
from speechbrain_acom.entropy.priors.contract import Predictor, Prior
from speechbrain_acom.entropy.priors.kinds import BASE_KINDS
from speechbrain_acom.entropy.priors.learned import LearnedTable
from speechbrain_acom.errors import ConfigurationError

MOST_STRENGTH = 1 << 16

# Strength and kind of the base.
_START = struct.Struct(">IB")


class AdaptivePredictor(Predictor):
    """Gives the tables of a base, corrected by the message so far.

    Coded frame by frame, as in a stream, memory is bounded however long the
    message is: what was learned is forgotten, and no base keeps every code.

    Arguments
    ---------
    base : Predictor
        The base, at the start of a message.
    cardinalities : Sequence[int]
        Entries per codebook, coarse to fine.
    strength : int
        Counts that the base is worth.
    """

    def __init__(
        self, base: Predictor, cardinalities: Sequence[int], strength: int
    ) -> None:
        self._base = base
        self._learned = [LearnedTable(size, strength) for size in cardinalities]
        # The base's table and the corrected one of the codes that are next.
        self._next: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def frequencies(self, codebook: int) -> np.ndarray:
        """Table of the next code, int64, shape (V_k,)."""
        return self._learned[codebook].mixed(*self._tables(codebook))

    def update(self, codebook: int, entry: int) -> None:
        """Learn the next code."""
        self._learned[codebook].learn(*self._tables(codebook), entry)
        self._base.update(codebook, entry)
        del self._next[codebook]

    def _tables(self, codebook: int) -> tuple[np.ndarray, np.ndarray]:
        if codebook not in self._next:
            base = self._base.frequencies(codebook)
            corrected = self._learned[codebook].corrected(base)
            self._next[codebook] = base, corrected
        return self._next[codebook]


class AdaptivePrior(Prior):
    """Any prior, mixed with what the message so far teaches.

    Meant for long streams of one speaker or room. A short message costs as
    much as with the base alone, to a fraction of a bit; see
    :class:`LearnedTable`.

    Arguments
    ---------
    base : Prior
        The prior to start from, not adaptive itself.
    strength : int
        Counts that it is worth, 1 to 2^16.

    Raises
    ------
    ConfigurationError
        If the base is adaptive, or the strength out of range.

    Example
    -------
    >>> from speechbrain_acom.entropy.priors import StaticPrior
    >>> stream = np.random.default_rng(0).integers(2, size=(1000, 1))
    >>> base = StaticPrior.fit([np.arange(4)[:, None]], (4,))
    >>> base.bits(stream)
    2000.0
    >>> 1000 < AdaptivePrior(base, strength=32).bits(stream) < 1100
    True
    """

    KIND = 3

    def __init__(self, base: Prior, strength: int) -> None:
        if base.KIND not in BASE_KINDS:
            raise ConfigurationError(
                "base", type(base).__name__, "a prior that does not adapt"
            )
        if not 1 <= strength <= MOST_STRENGTH:
            raise ConfigurationError(
                "strength", strength, f"1 to {MOST_STRENGTH} counts"
            )
        self._base = base
        self._strength = strength

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """Entries per codebook, coarse to fine: (V_1, ..., V_K)."""
        return self._base.cardinalities

    @classmethod
    def fit(
        cls,
        codes: Iterable[np.ndarray],
        cardinalities: Sequence[int],
        base: Callable[..., Prior] = ContextPrior.fit,
        rate: float = 1 / 32,
    ) -> "AdaptivePrior":
        """Fit the base; how to adapt is not learned.

        Arguments
        ---------
        codes : Iterable[np.ndarray]
            One integer array (frame, K) per training utterance.
        cardinalities : Sequence[int]
            Entries per codebook, coarse to fine.
        base : Callable[..., Prior]
            Called as ``base(codes, cardinalities)``.
        rate : float
            How fast the message takes over, 2^-16 to 1: a context that came
            1 / rate times is half learned, half the base's.

        Returns
        -------
        AdaptivePrior
            The fitted prior.

        Raises
        ------
        ConfigurationError
            If the rate is out of range, the base is no fitter or adaptive, or
            it refuses the codes.
        """
        number = isinstance(rate, int | float)
        if not number or not 1 / MOST_STRENGTH <= rate <= 1:
            raise ConfigurationError("rate", rate, f"1/{MOST_STRENGTH} to 1")
        if not callable(base):
            raise ConfigurationError(
                "base", base, "a fragment like hparams/priors/context.yaml"
            )
        return cls(base(codes, cardinalities), round(1 / rate))

    def first(self, count: int) -> "AdaptivePrior":
        """The prior of the first codes of every frame, with the same tables."""
        base = self._base.first(count)
        if base is self._base:
            return self
        return AdaptivePrior(base, self._strength)

    def predictor(self) -> AdaptivePredictor:
        """A predictor at the start of a message, which has taught nothing."""
        return AdaptivePredictor(
            self._base.predictor(), self.cardinalities, self._strength
        )

    def content(self) -> bytes:
        """The strength in four bytes, the base's kind in one, the base."""
        return (
            _START.pack(self._strength, self._base.KIND) + self._base.content()
        )

    @classmethod
    def from_content(cls, content: bytes) -> "AdaptivePrior":
        """The prior of what :meth:`content` gave; ValueError if none."""
        if len(content) < _START.size:
            raise ValueError("it has no base")
        strength, kind = _START.unpack_from(content)
        if kind not in BASE_KINDS:
            raise ValueError(f"its base is of kind {kind}")
        base = BASE_KINDS[kind].from_content(content[_START.size :])
        return cls(base, strength)
