"""A stream under a neural prior took more memory with every frame.

The predictor kept every code of the message, though it looks no farther back
than its window, and an adaptive prior with a neural base was not bounded as it
says. What all codebooks have passed is now dropped.
"""

import tracemalloc

import numpy as np

from speechbrain_acom.entropy.priors.context_network import (
    CodebookNetwork,
    Context,
)
from speechbrain_acom.entropy.priors.fixed_point import FixedLayer
from speechbrain_acom.entropy.priors.neural import NeuralPrior


def counting_prior(books: int) -> NeuralPrior:
    """A network of one number, for codebooks of four entries."""

    def layer(inputs: int) -> FixedLayer:
        return FixedLayer(np.ones((1, inputs)), 0, np.zeros(1))

    context = Context(recent_frames=1, pooled_groups=1)
    tables = [np.arange(5.0)[:, np.newaxis]] * books
    networks = [
        CodebookNetwork(layer(2 + (book > 0)), (), layer(1), np.zeros(4))
        for book in range(books)
    ]
    return NeuralPrior(context, 2, tables, networks)


def test_memory_of_a_stream_does_not_grow():
    predictor = counting_prior(2).predictor()
    codes = np.random.default_rng(0).integers(0, 4, (5000, 2)).tolist()

    def stream(frames):
        for frame in frames:
            for book, entry in enumerate(frame):
                predictor.update(book, entry)

    stream(codes[:100])
    tracemalloc.start()
    stream(codes[100:])
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # Four bytes a code would be 39 200.
    assert grown < 2000
