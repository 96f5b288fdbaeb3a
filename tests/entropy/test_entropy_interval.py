"""The coder's arithmetic is the library's, to the bit."""

import numpy as np
import pytest
from constriction import stream
from hypothesis import given, settings
from hypothesis import strategies as st

from speechbrain_acom.entropy.coder import constant_model
from speechbrain_acom.entropy.interval import (
    RangeDecoder,
    RangeEncoder,
    edges,
)
from speechbrain_acom.entropy.priors import TOTAL_FREQUENCY
from speechbrain_acom.entropy.priors.integers import scaled
from speechbrain_acom.errors import BitstreamError


def random_table(random, size) -> np.ndarray:
    weights = (random.random(size) ** random.integers(1, 40) * 1e6).astype(int)
    weights[random.integers(size)] += 1
    return scaled(weights)


@settings(deadline=None, max_examples=30)
@given(
    sizes=st.lists(
        st.sampled_from([2, 3, 17, 1024, 65536]), min_size=1, max_size=20
    ),
    seed=st.integers(0, 2**32 - 1),
)
def test_steps_are_those_of_the_library(sizes, seed):
    random = np.random.default_rng(seed)
    ours, theirs = RangeEncoder(), stream.queue.RangeEncoder()
    coded = []
    for size in sizes:
        table = random_table(random, size)
        entry = int(random.choice([0, random.integers(size), size - 1]))
        bounds = edges(table)
        assert (bounds[0], bounds[-1]) == (0, TOTAL_FREQUENCY)
        assert (np.diff(bounds) > 0).all()
        ours.encode(int(bounds[entry]), int(bounds[entry + 1]))
        theirs.encode(entry, constant_model(table))
        words, (lower, narrowed) = theirs.pos()
        interval = ours.interval
        assert interval.words == words
        assert interval.lower % (1 << 64) == lower
        assert interval.size == narrowed
        coded.append((entry, bounds))
    payload = ours.finish()
    decoder = RangeDecoder(payload)
    assert [decoder.decode(bounds) for _, bounds in coded] == [
        entry for entry, _ in coded
    ]
    assert decoder.shortest() == payload


@settings(deadline=None, max_examples=30)
@given(
    count=st.integers(0, 60),
    share_bits=st.integers(1, 23),
    tail=st.binary(max_size=12),
    seed=st.integers(0, 2**32 - 1),
)
def test_complete_bytes_decode_whatever_follows(count, share_bits, tail, seed):
    random = np.random.default_rng(seed)
    share = 1 << share_bits
    bounds = np.array([0, share, TOTAL_FREQUENCY - share, TOTAL_FREQUENCY])
    bounds = np.unique(bounds)
    entries = random.integers(0, len(bounds) - 1, count).tolist()
    encoder = RangeEncoder()
    for entry in entries:
        encoder.encode(int(bounds[entry]), int(bounds[entry + 1]))
    payload = encoder.finish(complete=True)
    bits = -np.log2(np.diff(bounds)[entries] / TOTAL_FREQUENCY).sum()
    assert 8 * len(payload) <= bits * 1.001 + 16.1
    for following in (tail, b"\xff" * 12, b""):
        decoder = RangeDecoder(payload + following)
        assert [decoder.decode(bounds) for _ in entries] == entries
        assert decoder.certain
    # One byte less is not enough: some bytes behind it decode to others.
    decoder = RangeDecoder(payload[:-1])
    found = [decoder.decode_certain(bounds) for _ in entries]
    assert None in found or not entries


def test_nothing_is_certain_of_no_bytes_but_a_table_of_one():
    decoder = RangeDecoder(b"")
    assert decoder.decode_certain(np.array([0, TOTAL_FREQUENCY])) == 0
    assert decoder.decode_certain(np.array([0, 1, TOTAL_FREQUENCY])) is None
    assert decoder.certain


def test_numbers_above_all_codes_are_refused():
    thirds = edges(np.array([5592405, 5592405, 5592406]))
    decoder = RangeDecoder(b"\xff" * 16, first_byte=7)
    with pytest.raises(BitstreamError, match="found 16 bytes, which no codes"):
        for _ in range(20):
            decoder.decode(thirds)
    with pytest.raises(BitstreamError) as caught:
        decoder.decode_certain(thirds)
    assert 7 <= caught.value.offset <= 23
    assert "\n" not in str(caught.value)
