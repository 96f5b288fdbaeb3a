"""Messages that may be cut: what is certain comes, and nothing else."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from message_helpers import MODEL, RUNS, skewed_codes, skewed_prior
from toy_prior import ToyPrior

from speechbrain_acom.entropy.bitstream import (
    MAX_FRAMES,
    MessageOptions,
    read_header,
    read_message,
    write_message,
)
from speechbrain_acom.entropy.coder import decode_certain, encode
from speechbrain_acom.entropy.framing import ONE_TO_ONE
from speechbrain_acom.entropy.interval import RangeDecoder
from speechbrain_acom.entropy.priors import StaticPrior
from speechbrain_acom.entropy.symbols import MessageTables, SymbolDecoder
from speechbrain_acom.errors import BitstreamError

CHECKED = MessageOptions(scalable=True)
UNCHECKED = MessageOptions(checksum=False, scalable=True)


def random_prior(random, cardinalities, context):
    if context:
        return ToyPrior(cardinalities, 1 << int(random.integers(8, 24)))
    drawn = random.integers(0, cardinalities, (30, len(cardinalities)))
    return StaticPrior.fit([drawn // 2], cardinalities)


@settings(deadline=None, max_examples=60)
@given(
    cardinalities=st.lists(st.integers(1, 30), min_size=2, max_size=4),
    num_frames=st.integers(1, 20),
    context=st.booleans(),
    options=st.sampled_from([CHECKED, UNCHECKED]),
    framing=st.sampled_from([ONE_TO_ONE, RUNS]),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_cut_loses_only_what_was_cut(
    cardinalities, num_frames, context, options, framing, seed
):
    random = np.random.default_rng(seed)
    prior = random_prior(random, cardinalities, context)
    shape = (num_frames, len(cardinalities))
    codes = framing.trimmed(random.integers(0, cardinalities, shape), shape[0])
    message = write_message(codes, shape[0], prior, MODEL, framing, options)
    books = len(cardinalities) - framing.run_columns
    whole = read_message(message, prior, MODEL, framing)
    assert np.array_equal(whole.codes, codes)
    assert whole.num_codebooks == whole.sent_codebooks == books
    came = 0
    for length in range(read_header(message).header_bytes, len(message)):
        try:
            cut = read_message(message[:length], prior, MODEL, framing)
        except BitstreamError as error:
            assert came == 0
            assert "\n" not in str(error)
        else:
            assert came <= cut.num_codebooks < cut.sent_codebooks == books
            came = cut.num_codebooks
            assert np.array_equal(cut.codes, codes[:, : cut.codes.shape[1]])


def first_plane(payload, prior) -> tuple[int, ...] | None:
    """Codes of codebook 0, of bytes that zeros follow."""
    symbols = SymbolDecoder(RangeDecoder(payload), MessageTables(prior))
    try:
        return tuple(symbols.entry(0) for _ in range(3))
    except BitstreamError:
        return None


def test_a_plane_comes_as_soon_as_it_is_certain():
    prior = ToyPrior((3, 4), 1 << 23)
    for codes in product(range(3), repeat=3):
        codes = np.array([codes, (2, 1, 3)]).T
        payload = encode(codes, prior, complete=True)
        for length in range(len(payload)):
            ends = (bytes([byte]) * 10 for byte in range(0, 256, 5))
            planes = {
                first_plane(payload[:length] + end, prior) for end in ends
            }
            try:
                cut = decode_certain(payload[:length], 3, prior)
            except BitstreamError:
                assert len(planes) > 1
            else:
                assert cut.tolist() == codes[:, :1].tolist()
                assert planes == {tuple(codes[:, 0].tolist())}


def test_a_message_takes_two_bytes_more_than_one_that_is_not_to_be_cut():
    prior = skewed_prior()
    for num_frames in range(1, 60):
        codes = skewed_codes(num_frames, num_frames)
        whole = write_message(codes, num_frames, prior, MODEL)
        message = write_message(
            codes, num_frames, prior, MODEL, options=CHECKED
        )
        assert len(whole) + 1 <= len(message) <= len(whole) + 2


def test_the_header_says_how_many_planes_there_are():
    codes, prior = skewed_codes(1, 20), skewed_prior()
    for books, options in product((1, 2), (CHECKED, UNCHECKED)):
        message = write_message(
            codes[:, :books], 20, prior, MODEL, options=options
        )
        header = read_header(message)
        assert header.scalable
        assert header.version == 3
        assert header.num_codebooks == books
        assert header.header_bytes == 5 + options.checksum
        assert header.payload_bytes == len(message) - header.header_bytes


def test_the_checksum_is_that_of_the_header():
    codes, prior = skewed_codes(1, 20), skewed_prior()
    message = write_message(codes, 20, prior, MODEL, options=CHECKED)
    for position in range(1, 6):
        damaged = bytearray(message)
        damaged[position] ^= 0x40
        with pytest.raises(BitstreamError, match="found checksum") as caught:
            read_message(bytes(damaged), prior, MODEL)
        assert caught.value.offset == 5
    for length in range(6):
        with pytest.raises(BitstreamError):
            read_message(message[:length], prior, MODEL)


def test_bytes_behind_the_end_are_refused():
    codes, prior = skewed_codes(1, 20), skewed_prior()
    message = write_message(codes, 20, prior, MODEL, options=UNCHECKED)
    for extra in (b"\0", b"\xff", b"\0" * 9):
        with pytest.raises(BitstreamError, match="the shortest"):
            read_message(message + extra, prior, MODEL)


@pytest.mark.parametrize("context", [False, True])
def test_forged_count_ends_with_the_payload(context):
    prior = random_prior(np.random.default_rng(0), (30, 30), context)
    message = b"\xac" + MODEL + bytes.fromhex("808004 02") + bytes(range(30))
    with pytest.raises(BitstreamError, match="too few for their codes"):
        read_message(message, prior, MODEL, max_frames=MAX_FRAMES)
