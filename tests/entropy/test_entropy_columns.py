"""Messages with run lengths, and of the first codebooks only."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from message_helpers import (
    MODEL,
    RUNS,
    read,
    sealed,
    skewed_codes,
    skewed_prior,
)

from speechbrain_acom.entropy.bitstream import (
    MAX_FRAMES,
    read_header,
    read_message,
    write_message,
)
from speechbrain_acom.entropy.coder import encode
from speechbrain_acom.entropy.priors import StaticPrior
from speechbrain_acom.errors import BitstreamError, ConfigurationError

# Run lengths ----------------------------------------------------------------


@settings(deadline=None, max_examples=200)
@given(
    first=st.sampled_from([b"\xa1", b"\xa9"]),
    count=st.integers(0, 127),
    payload=st.binary(max_size=40),
)
def test_garbage_in_runs_covers_its_frames_or_is_refused(first, count, payload):
    message = sealed(first + MODEL + bytes([count]) + payload)
    try:
        result = read_message(message, skewed_prior(), MODEL, RUNS)
    except BitstreamError as error:
        assert "\n" not in str(error)
    else:
        assert (result.codes[:, 0] + 1).sum() == count


def test_runs_that_end_after_the_last_frame_are_forged():
    codes = np.array([[3, 1], [4, 0]])
    for num_frames in range(5, 9):
        body = b"\xa9" + MODEL + bytes([num_frames])
        message = sealed(body + encode(codes, skewed_prior()))
        with pytest.raises(
            BitstreamError, match=f"runs of 9 frames, expected {num_frames}:"
        ):
            read_message(message, skewed_prior(), MODEL, RUNS)


def test_longest_runs_take_few_bytes_and_bounded_time():
    prior = StaticPrior([np.full(65536, 1), np.array([65535, 1])])
    # Runs of one frame each: what no bytes decoded to before version 3.
    message = sealed(b"\xa1" + MODEL + bytes.fromhex("808004"))
    result = read_message(message, prior, MODEL, RUNS, MAX_FRAMES)
    assert result.codes.shape == (MAX_FRAMES, 2)
    message = sealed(b"\xa9" + MODEL + bytes.fromhex("808004"))
    with pytest.raises(BitstreamError, match="too few for their codes"):
        read_message(message, prior, MODEL, RUNS, MAX_FRAMES)
    whole = np.array([[MAX_FRAMES - 1, 0]])
    message = write_message(whole, MAX_FRAMES, prior, MODEL, RUNS)
    assert len(message) <= 7 + 3
    result = read_message(message, prior, MODEL, RUNS, MAX_FRAMES)
    assert np.array_equal(result.codes, whole)


# The first codebooks only ---------------------------------------------------


def test_fewer_codebooks_take_a_byte_more_and_fewer_bits():
    codes, prior = skewed_codes(3, 60), skewed_prior()
    whole = write_message(codes, 60, prior, MODEL)
    first = write_message(codes[:, :1], 60, prior, MODEL)
    header = read_header(first)
    assert (header.version, header.num_codebooks) == (3, 1)
    assert header.header_bytes == read_header(whole).header_bytes + 1
    assert first[5:-1] == encode(codes[:, :1], prior.first(1))
    assert len(first) < len(whole)


def test_run_lengths_are_no_codebook():
    prior = StaticPrior.fit([np.zeros((1, 3), int)], (4, 16, 16))
    codes = np.array([[2, 5, 7], [0, 1, 15]])
    for sent in (1, 2):
        message = write_message(codes[:, : 1 + sent], 4, prior, MODEL, RUNS)
        books = read_header(message).num_codebooks
        assert books == (None if sent == 2 else 1)
        decoded = read_message(message, prior, MODEL, RUNS).codes
        assert np.array_equal(decoded, codes[:, : 1 + sent])
    with pytest.raises(ConfigurationError, match="num_codebooks: found 1,"):
        write_message(codes[:, :1], 4, prior, MODEL, RUNS)


@pytest.mark.parametrize("first", [b"\xa2", b"\xab"])
@pytest.mark.parametrize("count", ["00", "02", "03", "7f", "8001"])
def test_number_of_codebooks_that_no_encoder_writes(first, count):
    message = sealed(first + MODEL + b"\x00" + bytes.fromhex(count))
    with pytest.raises(BitstreamError, match="codebooks, expected 1 to 1 of 2"):
        read(message)


@pytest.mark.parametrize("first", [b"\xa2", b"\xab"])
@pytest.mark.parametrize("count", ["", "80", "8100"])
def test_malformed_number_of_codebooks_is_refused(first, count):
    message = sealed(first + MODEL + b"\x00" + bytes.fromhex(count))
    with pytest.raises(BitstreamError, match="number of codebooks is malform"):
        read(message)
