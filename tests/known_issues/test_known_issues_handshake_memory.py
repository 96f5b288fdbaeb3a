"""Every handshake that was read took as much memory as all of the prior.

A prior of contexts for 1024 entries has megabytes; the bound on what a reader
takes is one.
"""

import tracemalloc

import numpy as np

from speechbrain_acom.entropy.priors.context import ContextPrior
from speechbrain_acom.entropy.session import Session


def test_a_handshake_takes_no_memory_of_the_size_of_the_prior():
    random = np.random.default_rng(0)
    # Each code is followed by one of a few.
    steps = random.integers(1, 9, (40000, 2))
    codes = steps.cumsum(axis=0) * 37 % 512
    prior = ContextPrior.fit([codes], (512, 512))
    assert len(prior.content()) > 100_000
    cloud = Session(prior, b"\xca\xfe")
    handshake = Session(prior, b"\xca\xfe").handshake()
    tracemalloc.start()
    cloud.check(handshake)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 1 << 14
