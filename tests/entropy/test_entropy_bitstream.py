"""The container: round trips, damage and forgery."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from message_helpers import (
    MODEL,
    PAIRS,
    RUNS,
    read,
    sealed,
    skewed_codes,
    skewed_prior,
)

from speechbrain_acom.entropy.bitstream import (
    MAX_FRAMES,
    MessageOptions,
    read_header,
    read_message,
    write_message,
)
from speechbrain_acom.entropy.container import OLD_CRC_END, crc8
from speechbrain_acom.entropy.framing import ONE_TO_ONE, Framing
from speechbrain_acom.entropy.priors import StaticPrior, load_prior
from speechbrain_acom.errors import BitstreamError, ConfigurationError

GOLDEN = Path(__file__).parent / "golden"
NO_CHECKSUM = MessageOptions(checksum=False)


@settings(deadline=None, max_examples=60)
@given(
    data=st.data(),
    cardinalities=st.lists(st.integers(1, 40), min_size=1, max_size=4),
    num_frames=st.integers(0, 300),
    model_hash=st.binary(min_size=2, max_size=2),
    checksum=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_round_trip(
    data, cardinalities, num_frames, model_hash, checksum, seed
):
    random = np.random.default_rng(seed)
    framing = data.draw(st.sampled_from([ONE_TO_ONE, PAIRS, RUNS]))
    least = framing.run_columns + 1
    cardinalities = [5] * (least - 1) + cardinalities
    sent = data.draw(st.integers(least, len(cardinalities)))
    prior = StaticPrior.fit(
        [random.integers(0, cardinalities, (40, len(cardinalities))) // 2],
        cardinalities,
    )
    shape = (framing.most_code_frames(num_frames), len(cardinalities))
    codes = framing.trimmed(
        random.integers(0, cardinalities, shape), num_frames
    )
    message = write_message(
        codes[:, :sent],
        num_frames,
        prior,
        model_hash,
        framing,
        MessageOptions(checksum=checksum),
    )
    result = read_message(message, prior, model_hash, framing)
    assert np.array_equal(result.codes, codes[:, :sent])
    assert result.num_frames == num_frames
    truncated = sent < len(cardinalities)
    assert message[0] == 0xA8 + 2 * truncated + checksum
    container = (4 if num_frames < 128 else 5) + truncated + checksum
    assert len(message) == container + result.payload_bytes


def test_header_tells_what_the_message_holds():
    message = write_message(skewed_codes(0, 200), 200, skewed_prior(), MODEL)
    header = read_header(message)
    assert header.version == 3
    assert header.model_hash == MODEL
    assert header.num_frames == 200
    assert header.num_codebooks is None
    assert header.header_bytes == 5
    assert header.payload_bytes == len(message) - 6


@pytest.mark.parametrize("checksum", [False, True])
def test_utterance_without_frames_takes_four_bytes_or_five(checksum):
    options = MessageOptions(checksum=checksum)
    none = skewed_codes(0, 0)
    message = write_message(none, 0, skewed_prior(), MODEL, options=options)
    assert len(message) == 4 + checksum
    assert read(message).codes.shape == (0, 2)


def test_longest_message():
    prior = StaticPrior([np.array([65535, 1])])
    codes = np.zeros((MAX_FRAMES, 1), int)
    message = write_message(codes, MAX_FRAMES, prior, MODEL)
    assert len(message) == 7
    result = read_message(message, prior, MODEL, max_frames=MAX_FRAMES)
    assert result.codes.shape == (MAX_FRAMES, 1)
    with pytest.raises(ConfigurationError, match="num_frames: found 65537"):
        write_message(codes, MAX_FRAMES + 1, prior, MODEL)


@pytest.mark.parametrize(
    ("framing", "num_frames", "expected"),
    [
        (ONE_TO_ONE, 9, "10"),
        (ONE_TO_ONE, 11, "10"),
        (PAIRS, 18, "19 to 20"),
        (PAIRS, 21, "19 to 20"),
        (RUNS, 29, "30"),
        (RUNS, 31, "30"),
    ],
)
def test_codes_that_cover_other_frames_are_refused(
    framing, num_frames, expected
):
    codes = np.full((10, 2), 2)
    with pytest.raises(
        ConfigurationError,
        match=f"num_frames: found {num_frames}, expected {expected}, which",
    ):
        write_message(codes, num_frames, skewed_prior(), MODEL, framing)


@pytest.mark.parametrize("model_hash", [b"", b"a", b"abc"])
def test_model_hash_is_two_bytes(model_hash):
    prior = skewed_prior()
    with pytest.raises(ConfigurationError, match="model_hash"):
        write_message(skewed_codes(0, 3), 3, prior, model_hash)
    message = write_message(skewed_codes(0, 3), 3, prior, MODEL)
    with pytest.raises(ConfigurationError, match="model_hash"):
        read_header(message, model_hash)


def test_checksums_are_common_ones():
    # The published check values of CRC-8/I-432-1 and CRC-8/SMBUS.
    assert crc8(b"123456789") == 0xA1
    assert crc8(b"123456789", OLD_CRC_END) == 0xF4


@pytest.mark.parametrize("num_frames", [0, 1, 40])
def test_every_change_of_one_byte_is_found(num_frames):
    prior = skewed_prior()
    message = write_message(
        skewed_codes(1, num_frames), num_frames, prior, MODEL
    )
    for position in range(len(message)):
        for difference in range(1, 256):
            damaged = bytearray(message)
            damaged[position] ^= difference
            with pytest.raises(BitstreamError) as caught:
                read(bytes(damaged))
            assert "\n" not in str(caught.value)


def test_truncation_is_seldom_missed():
    # One in 256 by chance. 4000 cuts: 16 expected, 40 is six deviations off.
    prior = skewed_prior()
    random = np.random.default_rng(4)
    missed = 0
    for seed in range(200):
        num_frames = int(random.integers(20, 150))
        message = write_message(
            skewed_codes(seed, num_frames), num_frames, prior, MODEL
        )
        for length in random.choice(len(message), 20, replace=False):
            try:
                read(message[:length])
                missed += 1
            except BitstreamError as error:
                assert "\n" not in str(error)
    assert missed < 40


@settings(deadline=None, max_examples=200)
@given(message=st.binary(max_size=60))
def test_garbage_gives_codes_or_a_bitstream_error(message):
    candidates = [message]
    candidates += [
        sealed(start + MODEL + message)
        for start in (b"\xa1", b"\xa2", b"\xa9", b"\xab")
    ]
    candidates += [
        start + MODEL + message for start in (b"\xa8", b"\xaa", b"\xac")
    ]
    for candidate in candidates:
        try:
            result = read(candidate)
        except BitstreamError as error:
            assert "\n" not in str(error)
        else:
            shape = result.num_frames, result.num_codebooks
            assert result.codes.shape == shape
            assert result.num_codebooks <= result.sent_codebooks <= 2


def test_appended_zeros_are_found():
    message = write_message(skewed_codes(2, 40), 40, skewed_prior(), MODEL)
    for count in range(1, 9):
        with pytest.raises(BitstreamError, match="found checksum 00"):
            read(message + bytes(count))


def test_appended_zeros_that_old_checksums_miss_are_found():
    message = (GOLDEN / "short.acom").read_bytes()
    prior = load_prior(GOLDEN / "golden.prior")
    for count in range(1, 9):
        # The checksum of a message with its checksum is 0: only the check
        # that the payload is the shortest one finds these.
        assert crc8(message + bytes(count - 1), OLD_CRC_END) == 0
        with pytest.raises(BitstreamError, match="shortest"):
            read_message(message + bytes(count), prior, MODEL)


def test_payload_longer_than_needed_is_refused():
    message = write_message(skewed_codes(2, 40), 40, skewed_prior(), MODEL)
    for extra in (b"\0", b"\x01", b"\xff\xff"):
        with pytest.raises(BitstreamError, match="shortest"):
            read(sealed(message[:-1] + extra))


def test_empty_message():
    with pytest.raises(BitstreamError, match="found 0 bytes"):
        read(b"")


def test_other_files_are_no_message():
    with pytest.raises(BitstreamError, match="byte 0: message: starts with 52"):
        read(b"RIFF....WAVE")


@pytest.mark.parametrize("first", ["a0", "a3", "a4", "a5", "a6", "a7"])
def test_version_is_named_before_the_checksum(first):
    with pytest.raises(
        BitstreamError, match=f"unknown version: starts with {first}"
    ) as caught:
        read(bytes.fromhex(first) + b" of a layout that nobody knows yet")
    assert caught.value.offset == 0


@pytest.mark.parametrize("first", ["ae", "af"])
def test_streams_and_handshakes_are_no_messages(first):
    with pytest.raises(BitstreamError, match="a stream or a session"):
        read(bytes.fromhex(first) + MODEL)


@pytest.mark.parametrize(
    ("first", "most"), [("a1", 4), ("a9", 4), ("a8", 3), ("ac", 3), ("ad", 3)]
)
def test_short_messages_are_cut_short(first, most):
    start = bytes.fromhex(first) + b"\xca\xfe\x03"
    for length in range(1, most + 1):
        with pytest.raises(
            BitstreamError, match=f"found {length} bytes"
        ) as caught:
            read(start[:length])
        assert caught.value.offset == length
        assert str(caught.value) == f"byte {length}: {caught.value.reason}"


def test_appended_bytes_are_found_without_a_checksum():
    codes, prior = skewed_codes(2, 40), skewed_prior()
    message = write_message(codes, 40, prior, MODEL, options=NO_CHECKSUM)
    for extra in (b"\0", b"\x01", b"\xff\xff"):
        with pytest.raises(BitstreamError, match="shortest") as caught:
            read(message + extra)
        assert 4 <= caught.value.offset <= len(message)


def test_damage_is_named_before_the_model():
    message = bytearray(
        write_message(skewed_codes(0, 9), 9, skewed_prior(), MODEL)
    )
    message[1] ^= 1
    with pytest.raises(BitstreamError, match="cut short or corrupted"):
        read(bytes(message))


def test_message_of_another_model():
    message = write_message(skewed_codes(0, 9), 9, skewed_prior(), b"\xaa\xbb")
    with pytest.raises(
        BitstreamError,
        match="message of model aabb, this is model cafe .*another prior",
    ) as caught:
        read(message)
    assert caught.value.offset == 1
    assert read_header(message).model_hash == b"\xaa\xbb"


class ForbiddenFraming(Framing):
    def covered(self, frame):
        raise AssertionError("a forged number of frames was used")


@pytest.mark.parametrize("first", [b"\xa1", b"\xa9"])
@pytest.mark.parametrize(
    "count",
    [
        "818004",  # 65537
        "ffff7f",
        "ffffffff0f",
        "ff" * 100 + "01",
    ],
)
def test_forged_number_of_frames_is_refused_before_use(first, count):
    message = sealed(first + MODEL + bytes.fromhex(count) + b"payload")
    with pytest.raises(BitstreamError, match="more than 65536 frames"):
        read_message(message, skewed_prior(), MODEL, ForbiddenFraming())


@pytest.mark.parametrize("first", [b"\xa1", b"\xa9"])
@pytest.mark.parametrize(
    "count", ["80", "8180", "8000", "838000", "80" * 50 + "01"]
)
def test_malformed_number_of_frames_is_refused(first, count):
    message = sealed(first + MODEL + bytes.fromhex(count))
    with pytest.raises(BitstreamError, match="number of frames is malformed"):
        read_message(message, skewed_prior(), MODEL, ForbiddenFraming())
