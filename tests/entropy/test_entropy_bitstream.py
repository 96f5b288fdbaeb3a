"""The container: round trips, damage, forgery, and messages of the past.

The golden files in tests/entropy/golden are what earlier releases wrote. A
change that cannot read them, or that writes other bytes, needs a new version.
Then write them again, and the example in docs/bitstream.md, with

    ACOM_REGENERATE_GOLDEN=1 pytest tests/entropy/test_entropy_bitstream.py
"""

import json
import os
import re
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

from speechbrain_acom.entropy import bitstream
from speechbrain_acom.entropy.bitstream import (
    MAX_FRAMES,
    read_header,
    read_message,
    write_message,
)
from speechbrain_acom.entropy.framing import ONE_TO_ONE, Framing
from speechbrain_acom.entropy.priors import (
    StaticPrior,
    load_prior,
    prior_digest,
    save_prior,
)
from speechbrain_acom.errors import BitstreamError, ConfigurationError

GOLDEN = Path(__file__).parent / "golden"
DOCUMENT = Path(__file__).parents[2] / "docs" / "bitstream.md"


@settings(deadline=None, max_examples=60)
@given(
    data=st.data(),
    cardinalities=st.lists(st.integers(1, 40), min_size=1, max_size=4),
    num_frames=st.integers(0, 300),
    model_hash=st.binary(min_size=2, max_size=2),
    seed=st.integers(0, 2**32 - 1),
)
def test_round_trip(data, cardinalities, num_frames, model_hash, seed):
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
        codes[:, :sent], num_frames, prior, model_hash, framing
    )
    result = read_message(message, prior, model_hash, framing)
    assert np.array_equal(result.codes, codes[:, :sent])
    assert result.num_frames == num_frames
    truncated = sent < len(cardinalities)
    assert message[0] == (0xA2 if truncated else 0xA1)
    container = (5 if num_frames < 128 else 6) + truncated
    assert len(message) == container + result.payload_bytes


def test_header_tells_what_the_message_holds():
    message = write_message(skewed_codes(0, 200), 200, skewed_prior(), MODEL)
    header = read_header(message)
    assert header.version == 1
    assert header.model_hash == MODEL
    assert header.num_frames == 200
    assert header.num_codebooks is None
    assert header.header_bytes == 5
    assert header.payload_bytes == len(message) - 6


def test_utterance_without_frames_takes_five_bytes():
    message = write_message(skewed_codes(0, 0), 0, skewed_prior(), MODEL)
    assert len(message) == 5
    assert read(message).codes.shape == (0, 2)


def test_longest_message():
    prior = StaticPrior([np.array([65535, 1])])
    codes = np.zeros((MAX_FRAMES, 1), int)
    message = write_message(codes, MAX_FRAMES, prior, MODEL)
    assert len(message) == 7
    result = read_message(message, prior, MODEL)
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


def test_checksum_is_the_common_crc_8():
    # The published check value of CRC-8 with polynomial 0x07.
    assert bitstream._crc8(b"123456789") == 0xF4


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
        sealed(start + MODEL + message) for start in (b"\xa1", b"\xa2")
    ]
    for candidate in candidates:
        try:
            result = read(candidate)
        except BitstreamError as error:
            assert "\n" not in str(error)
        else:
            columns = 1 if candidate[0] == 0xA2 else 2
            assert result.codes.shape == (result.num_frames, columns)


def test_appended_zeros_are_found():
    message = write_message(skewed_codes(2, 40), 40, skewed_prior(), MODEL)
    for count in range(1, 9):
        # The checksum of a message with its checksum is 0: only the check
        # that the payload is the shortest one finds these.
        assert bitstream._crc8(message + bytes(count - 1)) == 0
        with pytest.raises(BitstreamError, match="shortest"):
            read(message + bytes(count))


def test_payload_longer_than_needed_is_refused():
    message = write_message(skewed_codes(2, 40), 40, skewed_prior(), MODEL)
    for extra in (b"\0", b"\x01", b"\xff\xff"):
        with pytest.raises(BitstreamError, match="shortest"):
            read(sealed(message[:-1] + extra))


def test_empty_message():
    with pytest.raises(BitstreamError, match="found 0 bytes"):
        read(b"")


def test_other_files_are_no_message():
    with pytest.raises(BitstreamError, match="starts with 52, expected a1"):
        read(b"RIFF....WAVE")


def test_version_is_named_before_the_checksum():
    with pytest.raises(
        BitstreamError, match="version 3, this reader knows versions 1 and 2"
    ):
        read(b"\xa3 of a layout that nobody knows yet")


def test_short_messages_are_cut_short():
    for length in range(1, 5):
        with pytest.raises(BitstreamError, match=f"found {length} bytes"):
            read(b"\xa1\xca\xfe\x03"[:length])


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
        BitstreamError, match="message of model aabb, this is model cafe"
    ):
        read(message)
    assert read_header(message).model_hash == b"\xaa\xbb"


class ForbiddenFraming(Framing):
    def covered(self, frame):
        raise AssertionError("a forged number of frames was used")


@pytest.mark.parametrize(
    "count",
    [
        "818004",  # 65537
        "ffff7f",
        "ffffffff0f",
        "ff" * 100 + "01",
        "80" * 100 + "01",
    ],
)
def test_forged_number_of_frames_is_refused_before_use(count):
    message = sealed(b"\xa1" + MODEL + bytes.fromhex(count) + b"payload")
    with pytest.raises(BitstreamError, match="more than 65536 frames"):
        read_message(message, skewed_prior(), MODEL, ForbiddenFraming())


@pytest.mark.parametrize("count", ["80", "8180", "8000", "838000", "80" * 50])
def test_malformed_number_of_frames_is_refused(count):
    message = sealed(b"\xa1" + MODEL + bytes.fromhex(count))
    with pytest.raises(BitstreamError, match="number of frames is malformed"):
        read_message(message, skewed_prior(), MODEL, ForbiddenFraming())


def golden_codes(num_frames: int, framing: Framing) -> np.ndarray:
    """Codes made by arithmetic, so that no random generator matters."""
    count = framing.most_code_frames(num_frames)
    step = np.arange(3 * count).reshape(count, 3)
    codes = (step * step % 101 * [1, 3, 0] // 7) % [8, 5, 1]
    return framing.trimmed(codes, num_frames)


# Name, frames, framing and columns that are sent. Version 2 and messages with
# run lengths are younger: their codes are in no file.
GOLDEN_CASES = [
    ("empty", 0, ONE_TO_ONE, 3),
    ("short", 12, ONE_TO_ONE, 3),
    ("merged", 301, PAIRS, 3),
    ("runs", 301, RUNS, 3),
    ("first", 140, ONE_TO_ONE, 1),
    ("first_runs", 140, RUNS, 2),
]


def regenerate_golden() -> None:
    cases = [
        {
            "name": name,
            "num_frames": num_frames,
            "codes": golden_codes(num_frames, framing).tolist(),
        }
        for name, num_frames, framing, _ in GOLDEN_CASES[:3]
    ]
    prior = StaticPrior.fit([np.array(cases[2]["codes"])], (8, 5, 1))
    save_prior(prior, GOLDEN / "golden.prior")
    (GOLDEN / "codes.json").write_text(json.dumps(cases) + "\n")
    for name, num_frames, framing, sent in GOLDEN_CASES:
        codes = golden_codes(num_frames, framing)[:, :sent]
        message = write_message(codes, num_frames, prior, MODEL, framing)
        (GOLDEN / f"{name}.acom").write_bytes(message)


if os.environ.get("ACOM_REGENERATE_GOLDEN"):
    regenerate_golden()


@pytest.mark.parametrize(
    ("name", "num_frames", "framing", "sent"), GOLDEN_CASES
)
def test_golden_messages_still_decode(name, num_frames, framing, sent):
    prior = load_prior(GOLDEN / "golden.prior")
    message = (GOLDEN / f"{name}.acom").read_bytes()
    expected = golden_codes(num_frames, framing)[:, :sent]
    result = read_message(message, prior, MODEL, framing)
    assert np.array_equal(result.codes, expected)
    assert result.num_frames == num_frames
    again = write_message(result.codes, num_frames, prior, MODEL, framing)
    assert again == message


@pytest.mark.parametrize(
    "case",
    json.loads((GOLDEN / "codes.json").read_text()),
    ids=lambda case: case["name"],
)
def test_golden_codes_are_made_as_before(case):
    [(_, num_frames, framing, _)] = [
        golden for golden in GOLDEN_CASES if golden[0] == case["name"]
    ]
    assert num_frames == case["num_frames"]
    assert golden_codes(num_frames, framing).tolist() == case["codes"]


def test_golden_prior_is_fitted_as_before():
    cases = json.loads((GOLDEN / "codes.json").read_text())
    codes = {case["name"]: np.array(case["codes"]) for case in cases}
    prior = StaticPrior.fit([codes["merged"]], (8, 5, 1))
    assert prior_digest(prior) == (
        prior_digest(load_prior(GOLDEN / "golden.prior"))
    )


def test_document_shows_the_golden_message():
    message = (GOLDEN / "short.acom").read_bytes()
    # A hex dump: offset, then bytes, then the meaning.
    dump = re.findall(
        r"^([0-9]+)  +((?:[0-9a-f]{2} )*[0-9a-f]{2})(?:  .*)?$",
        DOCUMENT.read_text(),
        re.MULTILINE,
    )
    assert bytes.fromhex("".join(row for _, row in dump)) == message
    offsets = [int(offset) for offset, _ in dump]
    lengths = [len(bytes.fromhex(row)) for _, row in dump]
    assert offsets == [sum(lengths[:i]) for i in range(len(lengths))]
