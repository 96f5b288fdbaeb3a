"""How many frames readers take, and what they allocate for them."""

import tracemalloc

import numpy as np
import pytest
from message_helpers import MODEL, PAIRS, RUNS, sealed, skewed_codes
from toy_prior import Stepped

from speechbrain_acom.entropy.bitstream import (
    MAX_FRAMES,
    MessageOptions,
    read_message,
    write_message,
)
from speechbrain_acom.entropy.container import varint
from speechbrain_acom.entropy.endings import ByteLength, CodedLength, EndSymbol
from speechbrain_acom.entropy.framing import ONE_TO_ONE
from speechbrain_acom.entropy.interval import RangeEncoder
from speechbrain_acom.entropy.limits import FRAMES_PER_BYTE, FREE_FRAMES
from speechbrain_acom.entropy.priors import StaticPrior
from speechbrain_acom.entropy.session import Session
from speechbrain_acom.entropy.streaming import StreamDecoder, StreamEncoder
from speechbrain_acom.entropy.symbols import code_edges
from speechbrain_acom.errors import BitstreamError, ConfigurationError


def sure_prior(codebooks=1) -> StaticPrior:
    """A frame costs 2^-15 bits a codebook."""
    return StaticPrior([np.array([65535, 1])] * codebooks)


def silence(num_frames, codebooks=1) -> np.ndarray:
    return np.zeros((num_frames, codebooks), int)


def test_longer_messages_than_max_frames_are_refused_before_they_are_decoded():
    prior = Stepped(sure_prior())
    message = write_message(silence(301), 301, prior, MODEL)
    prior.asked = 0
    with pytest.raises(
        BitstreamError, match="found 301 frames, expected at most 300: forged"
    ) as caught:
        read_message(message, prior, MODEL, max_frames=300)
    # Where the number stands.
    assert caught.value.offset == 3
    assert prior.asked == 0
    result = read_message(message, prior, MODEL, max_frames=301)
    assert result.num_frames == 301
    assert prior.asked == 301


@pytest.mark.parametrize("first", ["a1", "a8", "ac"])
def test_by_default_the_bytes_say_how_many_frames_are_read(first):
    prior = Stepped(sure_prior(2))
    for count in (MAX_FRAMES, 4000):
        body = bytes.fromhex(first) + MODEL + varint(count)
        body += b"\x02" if first == "ac" else b""
        message = sealed(body) if first == "a1" else body
        most = FREE_FRAMES + FRAMES_PER_BYTE * len(message)
        with pytest.raises(BitstreamError, match=f"at most {most}: forged"):
            read_message(message, prior, MODEL)
    assert prior.asked == 0


def test_the_default_is_far_from_real_recordings():
    # A twelfth of a bit a frame, for three minutes at 25 frames/s.
    prior = StaticPrior([np.array([64880, 656])])
    codes = np.random.default_rng(0).random((4500, 1)) < 0.01
    codes = codes.astype(int)
    message = write_message(codes, 4500, prior, MODEL)
    assert len(message) < 60
    assert np.array_equal(read_message(message, prior, MODEL).codes, codes)
    session = Session(prior, MODEL)
    read = session.read(session.write(codes, 4500))
    assert np.array_equal(read.codes, codes)


@pytest.mark.parametrize("framing", [ONE_TO_ONE, PAIRS, RUNS])
@pytest.mark.parametrize("ending", [ByteLength(), EndSymbol(50), CodedLength()])
def test_sessions_stop_at_max_frames(framing, ending):
    prior = Stepped(StaticPrior([np.array([65533, 1, 1, 1])]))
    count = framing.most_code_frames(200)
    message = Session(prior, MODEL, framing, ending).write(silence(count), 200)
    prior.asked = 0
    strict = Session(prior, MODEL, framing, ending, max_frames=99)
    with pytest.raises(
        BitstreamError, match="payload of .* frames, expected at most 99"
    ) as caught:
        strict.read(message)
    assert 0 <= caught.value.offset <= len(message)
    assert prior.asked <= 100
    exact = Session(prior, MODEL, framing, ending, max_frames=200)
    assert exact.read(message).num_frames == 200


def test_sessions_refuse_long_silence_of_few_bytes():
    session = Session(sure_prior(), MODEL)
    most = FREE_FRAMES + 2 * FRAMES_PER_BYTE
    message = session.write(silence(most), most)
    assert len(message) == 2
    assert session.read(message).num_frames == most
    message = session.write(silence(most + 1), most + 1)
    assert len(message) == 2
    with pytest.raises(BitstreamError, match=f"expected at most {most}"):
        session.read(message)


def test_a_push_gives_no_more_than_max_frames():
    prior = Stepped(sure_prior())
    encoder = StreamEncoder(prior, MODEL, flush_bits=16)
    packets = [encoder.push(silence(40)) + encoder.flush() for _ in range(3)]
    decoder = StreamDecoder(prior, MODEL, max_frames=40)
    for packet in packets:
        assert len(decoder.push(packet)) == 40
    decoder, prior.asked = StreamDecoder(prior, MODEL, max_frames=40), 0
    with pytest.raises(
        BitstreamError, match="found 41 frames, expected at most 40"
    ) as caught:
        decoder.push(b"".join(packets))
    assert 4 <= caught.value.offset <= len(b"".join(packets))
    assert prior.asked <= 41
    with pytest.raises(BitstreamError, match="broken before"):
        decoder.push(b"")


def test_a_push_of_few_bytes_is_bounded_by_default():
    encoder = StreamEncoder(sure_prior(), MODEL, flush_bits=16)
    sent = encoder.push(silence(6000)) + encoder.flush()
    most = FREE_FRAMES + FRAMES_PER_BYTE * len(sent)
    assert most < 6000
    with pytest.raises(BitstreamError, match=f"expected at most {most}"):
        StreamDecoder(sure_prior(), MODEL).push(sent)


def test_max_frames_is_at_least_one():
    prior = sure_prior()
    message = write_message(silence(1), 1, prior, MODEL)
    for build in (
        lambda: read_message(message, prior, MODEL, max_frames=0),
        lambda: Session(prior, MODEL, max_frames=0),
        lambda: StreamDecoder(prior, MODEL, max_frames=-1),
    ):
        with pytest.raises(ConfigurationError, match="max_frames: found"):
            build()


def test_frames_times_codebooks_are_bounded():
    # 2^22 codes: with 576 codebooks five minutes at 25 frames/s.
    prior = sure_prior(576)
    with pytest.raises(ConfigurationError, match="7282, expected at most 7281"):
        write_message(silence(7282, 576), 7282, prior, MODEL)
    with pytest.raises(ConfigurationError, match="7282, expected at most 7281"):
        Session(prior, MODEL).write(silence(7282, 576), 7282)
    for first in ("a1", "a9"):
        body = bytes.fromhex(first) + MODEL + varint(7282)
        with pytest.raises(
            BitstreamError, match="7282 frames of 576 codes, expected at most"
        ) as caught:
            read_message(sealed(body), prior, MODEL, max_frames=MAX_FRAMES)
        assert caught.value.offset == 3


# Memory -----------------------------------------------------------------------


def peak_of(read) -> int:
    tracemalloc.start()
    read()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak


@pytest.mark.parametrize("scalable", [False, True])
def test_the_longest_message_of_eight_codebooks_takes_64_bytes_a_frame(
    scalable,
):
    prior = sure_prior(8)
    message = write_message(
        silence(MAX_FRAMES, 8),
        MAX_FRAMES,
        prior,
        MODEL,
        options=MessageOptions(scalable=scalable),
    )
    # A scalable message is cut, too.
    for length in {len(message), len(message) - scalable}:
        peak = peak_of(
            lambda length=length: read_message(
                message[:length], prior, MODEL, max_frames=MAX_FRAMES
            )
        )
        assert peak < (1 << 20) + 64 * MAX_FRAMES


def test_a_forged_count_allocates_for_the_codes_that_there_are():
    prior = StaticPrior.fit([skewed_codes(0, 500)], (16, 16))
    message = b"\xa8" + MODEL + varint(MAX_FRAMES) + bytes(range(40))

    def read():
        with pytest.raises(BitstreamError, match="too few for their codes"):
            read_message(message, prior, MODEL, max_frames=MAX_FRAMES)

    # One block of 4096 codes at a time.
    assert peak_of(read) < 200_000


def old_message(codes, prior) -> bytes:
    encoder = RangeEncoder()
    for left, right in code_edges(codes, prior).reshape(-1, 2).tolist():
        encoder.encode(left, right)
    payload = encoder.finish().rstrip(b"\0")
    return sealed(b"\xa1" + MODEL + varint(len(codes)) + payload)


def test_codes_of_other_forms_are_held_once():
    prior, frames = sure_prior(16), 400
    codes = silence(frames, 16)
    codes[-1] = 1
    session = Session(prior, MODEL)
    encoder = StreamEncoder(prior, MODEL)
    message, old = session.write(codes, frames), old_message(codes, prior)
    sent = encoder.push(codes) + encoder.flush()
    for read in (
        lambda: session.read(message),
        lambda: StreamDecoder(prior, MODEL).push(sent),
        lambda: read_message(old, prior, MODEL),
    ):
        assert codes.nbytes <= peak_of(read) < 1.7 * codes.nbytes
