"""Where the codes of a message end."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speechbrain_acom.entropy.coder import decode, encode
from speechbrain_acom.entropy.framing import ONE_TO_ONE, Framing
from speechbrain_acom.entropy.priors import (
    StaticPrior,
    prior_digest,
)
from speechbrain_acom.errors import ConfigurationError

RUNS = Framing(run_lengths=True)
FRAMINGS = st.sampled_from([ONE_TO_ONE, Framing(merge=3), RUNS])


@settings(deadline=None, max_examples=60)
@given(FRAMINGS, st.integers(0, 50), st.integers(0, 2**32 - 1))
def test_trimmed_codes_come_back_through_the_coder(framing, num_frames, seed):
    random = np.random.default_rng(seed)
    prior = StaticPrior.fit([random.integers(0, (6, 9), (30, 2))], (6, 9))
    shape = (framing.most_code_frames(num_frames), 2)
    drawn = random.integers(0, (6, 9), shape)
    codes = framing.trimmed(drawn, num_frames)
    framing.check(codes, num_frames)
    assert np.array_equal(codes[:-1], drawn[: len(codes)][:-1])
    assert np.array_equal(codes[:, 1], drawn[: len(codes), 1])
    decoded = decode(encode(codes, prior), num_frames, prior, framing)
    assert decoded.dtype == np.int64
    assert np.array_equal(decoded, codes)
    # What fits already stays as it is.
    assert np.array_equal(framing.trimmed(codes, num_frames), codes)


def test_trimming_leaves_the_given_codes_alone():
    codes = np.array([[4, 1]])
    assert RUNS.trimmed(codes, 2).tolist() == [[1, 1]]
    assert codes.tolist() == [[4, 1]]


def test_trimming_repeated_codes():
    codes = np.broadcast_to([2, 7], (5, 2))
    assert RUNS.trimmed(codes, 5).tolist() == [[2, 7], [1, 7]]


def test_only_groups_of_fixed_length_may_end_after_the_last_frame():
    codes = np.array([[2, 0], [2, 0]])
    Framing(merge=3).check(codes, 4)
    with pytest.raises(ConfigurationError, match="num_frames: found 5"):
        RUNS.check(codes, 5)


def test_no_frame_takes_no_codes():
    none = np.zeros((0, 2), int)
    for framing in (ONE_TO_ONE, Framing(merge=3), RUNS):
        framing.check(none, 0)
        assert framing.most_code_frames(0) == 0
        with pytest.raises(ConfigurationError, match="num_frames: found 1"):
            framing.check(none, 1)


def test_first_tables_of_a_prior():
    codes = np.random.default_rng(0).integers(0, (4, 5, 6), (50, 3))
    prior = StaticPrior.fit([codes], (4, 5, 6))
    first = prior.first(2)
    assert first.cardinalities == (4, 5)
    assert prior_digest(first) == prior_digest(
        StaticPrior.fit([codes[:, :2]], (4, 5))
    )
    assert prior.first(3) is prior
    for count in (0, 4):
        with pytest.raises(ConfigurationError, match="num_codebooks: found"):
            prior.first(count)
