"""Priors of every kind, fitted on the same small codes."""

from collections.abc import Callable
from functools import cache, partial

import numpy as np

from speechbrain_acom.entropy.priors import (
    AdaptivePrior,
    ContextPrior,
    Prior,
    StaticPrior,
)

CARDINALITIES = (6, 9, 4)


def fit_tiny_neural(
    codes, cardinalities, attention_heads=0, epochs=2, **settings
) -> Prior:
    """A few epochs of a network with windows of four frames."""
    # Only fitting needs torch: a process that reads priors does without.
    from speechbrain_acom.training.neural_prior import fit_neural_prior

    return fit_neural_prior(
        codes,
        cardinalities,
        recent_frames=2,
        pooled_groups=1,
        attention_heads=attention_heads,
        head_dim=3,
        key_frames=2,
        attention_frames=7,
        embedding_dim=4,
        hidden_dim=8,
        epochs=epochs,
        **settings,
    )


# Called as fit(codes, cardinalities).
FITS: dict[str, Callable[..., Prior]] = {
    "static": StaticPrior.fit,
    "context": ContextPrior.fit,
    "context_of_one": partial(ContextPrior.fit, order=1),
    "context_of_none": partial(ContextPrior.fit, order=0, coarser=0),
    "neural": fit_tiny_neural,
    # Long enough to have opinions.
    "attentive": partial(
        fit_tiny_neural,
        attention_heads=2,
        epochs=20,
        batch_pieces=1,
        learning_rate=0.02,
        weight_decay=0.0,
        dropout=0.0,
        embedding_dropout=0.0,
    ),
    "adaptive_static": partial(AdaptivePrior.fit, base=StaticPrior.fit),
    "adaptive_context": partial(AdaptivePrior.fit, rate=0.5),
    "adaptive_neural": partial(AdaptivePrior.fit, base=fit_tiny_neural),
}


def chained_codes(
    seed: int, frames: int, cardinalities: tuple[int, ...] = CARDINALITIES
) -> np.ndarray:
    """Codes that mostly follow from their neighbours, shape (frame, K)."""
    random = np.random.default_rng(seed)
    codes = random.integers(0, cardinalities, (frames, len(cardinalities)))
    for frame in range(1, frames):
        for codebook, size in enumerate(cardinalities):
            if random.random() < 0.8:
                nearest = codes[frame - 1, codebook] + 1
                if codebook:
                    nearest = nearest * codes[frame, codebook - 1] + 1
                codes[frame, codebook] = nearest % size
    return codes


@cache
def fitted(kind: str) -> Prior:
    """The prior of a kind; codes of value V - 1 were hardly ever seen."""
    codes = [chained_codes(seed, 60) for seed in range(12)]
    return FITS[kind](codes, CARDINALITIES)


def frame_by_frame(prior: Prior, codes: np.ndarray) -> list[list[np.ndarray]]:
    """Tables by codebook and frame, asked for in the order of a stream."""
    predictor = prior.predictor()
    tables: list[list[np.ndarray]] = [[] for _ in prior.cardinalities]
    for frame in codes.tolist():
        for codebook, entry in enumerate(frame):
            tables[codebook].append(predictor.frequencies(codebook))
            predictor.update(codebook, entry)
    return tables


def plane_by_plane(prior: Prior, codes: np.ndarray) -> list[list[np.ndarray]]:
    """The same, asked for in the order of a message."""
    predictor = prior.predictor()
    return [
        list(predictor.observe(codebook, codes[:, codebook]))
        for codebook in range(len(prior.cardinalities))
    ]
