"""Priors of every kind to fuzz readers with, and codes that suit them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial

import numpy as np

from speechbrain_acom.entropy.priors import (
    AdaptivePrior,
    ContextPrior,
    Prior,
    StaticPrior,
)
from speechbrain_acom.entropy.priors.static import TABLE_TOTAL
from speechbrain_acom.training.neural_prior import fit_neural_prior

SEED = 0
SPEECH_SIZES = (64, 16)
# Many entries, and what comes next is near what was last: many contexts.
WIDE_SIZES = (1024, 1024)
# Eight codebooks of which one entry each is next to certain: what training
# with a rate may come to. Frames then take hardly any bytes.
PEAKED_SIZES = (64,) * 8
# How often a frame of these is another one.
SURPRISE = 0.002


@dataclass(frozen=True)
class Kind:
    """A prior, codes for it, and what it may cost.

    Arguments
    ---------
    name : str
        Of the prior.
    prior : Prior
        The prior.
    draw : Callable[[np.random.Generator, int], np.ndarray]
        Codes (frame, K) of so many frames.
    code_us : float
        Microseconds that a reader may take for a code, on one core.
    weight : float
        Share of the messages, against other priors.
    """

    name: str
    prior: Prior
    draw: Callable[[np.random.Generator, int], np.ndarray]
    code_us: float
    weight: float = 1.0


# What docs/bitstream.md says that a code may cost, in microseconds.
STATIC_US, CONTEXT_US, ADAPTIVE_US, NEURAL_US = 20.0, 50.0, 200.0, 500.0
WIDE_US = 150.0


def _static() -> Kind:
    prior = StaticPrior.fit(_speech(), SPEECH_SIZES)
    return Kind("static", prior, codes_like_speech, STATIC_US)


def _context() -> Kind:
    prior = ContextPrior.fit(_speech(), SPEECH_SIZES)
    return Kind("context", prior, codes_like_speech, CONTEXT_US)


def _wide_context() -> Kind:
    random = np.random.default_rng(SEED)
    walks = [codes_like_walks(random, 1000) for _ in range(20)]
    prior = ContextPrior.fit(walks, WIDE_SIZES, order=1, coarser=0)
    return Kind("wide_context", prior, codes_like_walks, WIDE_US, weight=0.2)


def _adaptive() -> Kind:
    prior = AdaptivePrior(_context().prior, strength=32)
    return Kind("adaptive", prior, codes_like_speech, ADAPTIVE_US, weight=0.2)


def _neural() -> Kind:
    prior = _hardly_trained(_speech()[:4], SPEECH_SIZES)
    return Kind("neural", prior, codes_like_speech, NEURAL_US, weight=0.1)


def _peaked_static() -> Kind:
    return Kind("peaked_static", peaked_prior(), peaked_codes, STATIC_US)


def _peaked_context() -> Kind:
    prior = ContextPrior.fit(_silence(), PEAKED_SIZES, order=1, coarser=1)
    return Kind("peaked_context", prior, peaked_codes, CONTEXT_US, weight=0.2)


def _peaked_neural() -> Kind:
    first = [codes[:, :2] for codes in _silence()]
    prior = _hardly_trained(first, PEAKED_SIZES[:2])
    draw = partial(peaked_codes, codebooks=2)
    return Kind("peaked_neural", prior, draw, NEURAL_US, weight=0.05)


_KINDS: dict[str, Callable[[], Kind]] = {
    "static": _static,
    "context": _context,
    "wide_context": _wide_context,
    "adaptive": _adaptive,
    "neural": _neural,
    "peaked_static": _peaked_static,
    "peaked_context": _peaked_context,
    "peaked_neural": _peaked_neural,
}
NAMES = tuple(_KINDS)


@cache
def kind(name: str) -> Kind:
    """A kind of prior, over codes like speech or next to certain ones."""
    return _KINDS[name]()


def _hardly_trained(codes: Sequence[np.ndarray], sizes: Sequence[int]) -> Prior:
    """A network of the default size: what it knows does not change its time."""
    return fit_neural_prior(codes, sizes, epochs=1, seed=SEED)


def _speech() -> list[np.ndarray]:
    random = np.random.default_rng(SEED)
    return [codes_like_speech(random, 200) for _ in range(20)]


def _silence() -> list[np.ndarray]:
    random = np.random.default_rng(SEED)
    return [peaked_codes(random, 500) for _ in range(20)]


def peaked_prior() -> StaticPrior:
    """All entries but the first one as rare as a table can say."""
    tables = []
    for size in PEAKED_SIZES:
        table = np.ones(size, dtype=np.int64)
        table[0] = TABLE_TOTAL - size + 1
        tables.append(table)
    return StaticPrior(tables)


def codes_like_speech(
    random: np.random.Generator, num_frames: int
) -> np.ndarray:
    """Codes that stay for a while, some of them often, (frame, K)."""
    drawn = random.geometric((0.08, 0.2), (num_frames, 2)) - 1
    drawn %= SPEECH_SIZES
    stay = random.random((num_frames, 1)) < 0.4
    stay[:1] = False
    last = np.maximum.accumulate(
        np.where(stay, 0, np.arange(len(stay))[:, None])
    )
    return drawn[last[:, 0]]


def codes_like_walks(
    random: np.random.Generator, num_frames: int
) -> np.ndarray:
    """Codes that go on by one to three, in circles, (frame, 2)."""
    steps = random.integers(1, 4, (num_frames, len(WIDE_SIZES)))
    return steps.cumsum(axis=0) % WIDE_SIZES[0]


def peaked_codes(
    random: np.random.Generator,
    num_frames: int,
    codebooks: int = len(PEAKED_SIZES),
) -> np.ndarray:
    """Codes that are nearly always the same, (frame, K)."""
    sizes = PEAKED_SIZES[:codebooks]
    other = random.integers(0, sizes, (num_frames, codebooks))
    return np.where(random.random((num_frames, 1)) < SURPRISE, other, 0)
