"""Messages of sessions, and the three ways to end them."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from message_helpers import MODEL, RUNS, skewed_codes, skewed_prior
from toy_prior import ToyPrior

from speechbrain_acom.entropy.coder import encode
from speechbrain_acom.entropy.endings import (
    ByteLength,
    CodedLength,
    EndSymbol,
    _class_start,
    _length_class,
)
from speechbrain_acom.entropy.framing import ONE_TO_ONE, Framing
from speechbrain_acom.entropy.priors import StaticPrior
from speechbrain_acom.entropy.session import Session
from speechbrain_acom.errors import BitstreamError, ConfigurationError

ENDINGS = [
    ByteLength(),
    EndSymbol(1),
    EndSymbol(40),
    CodedLength(),
    CodedLength.fit([30, 40, 50]),
]
FRAMINGS = [ONE_TO_ONE, Framing(merge=3), RUNS]


@settings(deadline=None, max_examples=60)
@given(
    cardinalities=st.lists(st.integers(1, 30), min_size=1, max_size=3),
    num_frames=st.integers(0, 40),
    share_bits=st.integers(4, 24),
    ending=st.sampled_from(ENDINGS),
    framing=st.sampled_from(FRAMINGS),
    checksum=st.booleans(),
    drawn=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_round_trip(
    cardinalities,
    num_frames,
    share_bits,
    ending,
    framing,
    checksum,
    drawn,
    seed,
):
    random = np.random.default_rng(seed)
    prior = ToyPrior(cardinalities, 1 << share_bits)
    count = framing.most_code_frames(num_frames)
    if drawn:
        codes = prior.drawn(random, count)
    else:
        codes = random.integers(0, cardinalities, (count, len(cardinalities)))
    codes = framing.trimmed(codes, num_frames)
    session = Session(prior, MODEL, framing, ending, checksum)
    message = session.write(codes, num_frames)
    result = session.read(message)
    assert np.array_equal(result.codes, codes)
    assert result.codes.dtype == np.int64
    assert result.num_frames == num_frames
    assert result.payload_bytes == len(message) - checksum
    bits = prior.bits(codes)
    assert 8 * len(message) <= bits * 1.001 + 3.2 * num_frames + 48


def test_every_number_of_frames_has_its_own_string():
    # Codes that cost nearly nothing: a universal code of the number is left.
    prior = StaticPrior([np.array([65535, 1])])
    session = Session(prior, MODEL)
    codes = np.zeros((300, 1), int)
    messages = [session.write(codes[:n], n) for n in range(0, 300, 3)]
    assert [message.hex() for message in messages[:3]] == ["", "02", "05"]
    assert len(set(messages)) == len(messages)
    assert len(messages[80]) == 1
    assert len(messages[-1]) == 2


def test_length_of_the_string_costs_next_to_nothing():
    prior = skewed_prior()
    session, extra = Session(prior, MODEL), 0
    for seed in range(50):
        codes = skewed_codes(seed, 20 + seed)
        message = session.write(codes, len(codes))
        assert len(message) <= len(encode(codes, prior)) + 1
        extra += 8 * len(message) - prior.bits(codes)
    # Half a byte is lost to whole bytes in any case.
    assert 2 < extra / 50 < 6


def test_other_endings_cost_about_a_byte():
    prior = skewed_prior()
    for ending in (EndSymbol(45), CodedLength.fit(range(20, 70))):
        session, extra = Session(prior, MODEL, ending=ending), 0
        for seed in range(50):
            codes = skewed_codes(seed, 20 + seed)
            message = session.write(codes, len(codes))
            extra += 8 * len(message) - prior.bits(codes)
        assert 8 < extra / 50 < 16


def test_classes_of_lengths_join_without_gaps():
    for count in [*range(300), *range(300, 66000, 37)]:
        number, open_bits = _length_class(count)
        start, again = _class_start(number)
        assert open_bits == again
        assert start <= count < start + (1 << open_bits)
    assert _length_class(1 << 16)[0] < 64


def test_any_string_is_that_of_its_frames_or_refused():
    # With one ending: a string that is read is the one that is written.
    prior = ToyPrior((5, 3), 1 << 23)
    session, read = Session(prior, MODEL), 0
    strings = [bytes([first]) for first in range(0, 256, 5)]
    strings += [bytes(pair) for pair in product(range(0, 256, 9), (0, 7, 255))]
    for message in strings:
        try:
            result = session.read(message)
        except BitstreamError as error:
            assert "\n" not in str(error)
        else:
            read += 1
            assert session.write(result.codes, result.num_frames) == message
    assert read > 40


@settings(deadline=None, max_examples=80)
@given(
    message=st.binary(max_size=30),
    ending=st.sampled_from(ENDINGS),
    framing=st.sampled_from(FRAMINGS),
    context=st.booleans(),
)
def test_garbage_gives_codes_or_a_bitstream_error(
    message, ending, framing, context
):
    prior = ToyPrior((16, 16), 1 << 22) if context else skewed_prior()
    session = Session(prior, MODEL, framing, ending)
    try:
        result = session.read(message)
    except BitstreamError as error:
        assert "\n" not in str(error)
        assert 0 <= error.offset <= len(message)
    else:
        assert session.write(result.codes, result.num_frames) == message


def test_checksum_finds_changed_bytes():
    prior = skewed_prior()
    session = Session(prior, MODEL, checksum=True)
    message = session.write(skewed_codes(1, 30), 30)
    for position in range(len(message)):
        damaged = bytearray(message)
        damaged[position] ^= 0x11
        with pytest.raises(BitstreamError, match="found checksum"):
            session.read(bytes(damaged))
    with pytest.raises(BitstreamError, match="found 0 bytes"):
        session.read(b"")


def test_more_frames_than_allowed_are_refused():
    sharp = StaticPrior([np.array([65535, 1])])
    session = Session(sharp, MODEL)
    with pytest.raises(ConfigurationError, match="num_frames: found 65537"):
        session.write(np.zeros((65537, 1), int), 65537)
    runs = StaticPrior([np.full(65536, 1), np.array([65535, 1])])
    session = Session(runs, MODEL, RUNS, CodedLength(), max_frames=1 << 20)
    encoded = encode(np.array([[65535, 0]]), runs)
    assert len(encoded) <= 3
    codes = np.array([[65535, 0], [0, 0]])
    forged = Session(runs, MODEL, Framing(), CodedLength()).write(codes, 2)
    with pytest.raises(
        BitstreamError, match="found 65537 frames .*at most 65536: forged"
    ):
        session.read(forged)


# The handshake ----------------------------------------------------------------


def test_handshake_takes_seven_bytes_and_names_what_differs():
    prior, other = skewed_prior(), skewed_prior().first(1)
    session = Session(prior, MODEL)
    assert len(session.handshake()) == 7
    session.check(Session(prior, MODEL).handshake())
    for theirs, expected in (
        (Session(prior, b"\xaa\xbb"), "of model aabb, this is model cafe"),
        (Session(other, MODEL), "session of other prior: found digest"),
        (Session(prior, MODEL, RUNS), "session of other settings"),
        (Session(prior, MODEL, checksum=True), "of other settings"),
        (Session(prior, MODEL, ending=EndSymbol(9)), "of other settings"),
        (Session(prior, MODEL, ending=CodedLength()), "of other settings"),
    ):
        with pytest.raises(BitstreamError, match=expected) as caught:
            session.check(theirs.handshake())
        assert caught.value.offset in (1, 3, 5)


def test_damaged_handshakes_are_refused():
    session = Session(skewed_prior(), MODEL)
    handshake = session.handshake()
    for damaged, expected in (
        (b"", "found 0 bytes"),
        (b"RIFF", "starts with 52"),
        (b"\xa9" + handshake[1:], "starts with a9, expected af"),
        (handshake[:6], "found 6 bytes, expected 7"),
        (handshake + b"\0", "found 8 bytes, expected 7"),
    ):
        with pytest.raises(BitstreamError, match=expected):
            session.check(damaged)


def test_settings_out_of_range():
    with pytest.raises(ConfigurationError, match="model_hash"):
        Session(skewed_prior(), b"abc")
    for expected_frames in (0, 65537):
        with pytest.raises(ConfigurationError, match="expected_frames: found"):
            EndSymbol(expected_frames)
