"""A stream under a neural prior took more memory with every frame.

The predictor kept every code of the message, though it looks no farther back
than its window, and an adaptive prior with a neural base was not bounded as it
says. What all codebooks have passed is now dropped.
"""

import tracemalloc

import numpy as np
import pytest

from speechbrain_acom.context import Context
from speechbrain_acom.entropy.priors.attention import (
    AttentionShape,
    CodebookAttention,
)
from speechbrain_acom.entropy.priors.attentive import AttentiveNeuralPrior
from speechbrain_acom.entropy.priors.context_network import (
    CodebookNetwork,
)
from speechbrain_acom.entropy.priors.fixed_point import FixedLayer
from speechbrain_acom.entropy.priors.neural import NeuralPrior

SHAPE = AttentionShape(heads=1, head_dim=1, key_frames=1, reach=3)


def counting_prior(books: int, attentive: bool) -> NeuralPrior:
    """A network of one number, for codebooks of four entries."""

    def layer(inputs: int, outputs: int = 1) -> FixedLayer:
        return FixedLayer(np.ones((outputs, inputs)), 0, np.zeros(outputs))

    context = Context(recent_frames=1, pooled_groups=1)
    tables = [np.arange(5.0)[:, np.newaxis]] * books
    networks = [
        CodebookNetwork(
            layer(2 + (book > 0) + attentive), (), layer(1), np.zeros(4)
        )
        for book in range(books)
    ]
    if not attentive:
        return NeuralPrior(context, 2, tables, networks)
    attentions = [
        CodebookAttention(SHAPE, layer(1 + (book > 0), 2), layer(1))
        for book in range(books)
    ]
    return AttentiveNeuralPrior(attentions, context, 2, tables, networks)


@pytest.mark.parametrize("asked", [False, True])
@pytest.mark.parametrize("attentive", [False, True])
def test_memory_of_a_stream_does_not_grow(attentive, asked):
    predictor = counting_prior(2, attentive).predictor()
    codes = np.random.default_rng(0).integers(0, 4, (5000, 2)).tolist()

    def stream(frames):
        for frame in frames:
            for book, entry in enumerate(frame):
                if asked:
                    predictor.frequencies(book)
                predictor.update(book, entry)

    stream(codes[:100])
    tracemalloc.start()
    stream(codes[100:])
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # Four bytes a code would be 39 200.
    assert grown < 4000
