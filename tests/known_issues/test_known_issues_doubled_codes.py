"""A reader held every code of a message twice.

Codes were decoded plane by plane and then copied into one array: 8 MiB for the
longest message of eight codebooks, where 1 MiB and 64 bytes a frame were
promised. They are now decoded into the array that the caller gets.
"""

import tracemalloc

import numpy as np

from speechbrain_acom.entropy.coder import decode, encode
from speechbrain_acom.entropy.priors import StaticPrior


def test_codes_are_held_once():
    prior = StaticPrior([np.array([65535, 1])] * 8)
    frames = 40_000
    payload = encode(np.zeros((frames, 8), int), prior)
    tracemalloc.start()
    codes = decode(payload, frames, prior)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert codes.nbytes == 64 * frames
    assert peak < 1.2 * codes.nbytes
