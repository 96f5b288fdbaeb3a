"""Streams: the same codes however they are cut up, and soon."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from message_helpers import MODEL, skewed_codes, skewed_prior
from toy_prior import Stepped, ToyPrior

from speechbrain_acom.entropy import streaming
from speechbrain_acom.entropy.streaming import StreamDecoder, StreamEncoder
from speechbrain_acom.errors import BitstreamError, ConfigurationError


def pieces(random, count, most):
    """Lengths from 0 to most that sum to a count."""
    while count:
        length = min(int(random.integers(0, most + 1)), count)
        yield length
        count -= length


@settings(deadline=None, max_examples=40)
@given(
    cardinalities=st.lists(st.integers(1, 30), min_size=1, max_size=3),
    num_frames=st.integers(0, 60),
    share_bits=st.integers(4, 24),
    flush_bits=st.integers(1, 16),
    most_bytes=st.integers(1, 30),
    seed=st.integers(0, 2**32 - 1),
)
def test_pushed_in_any_pieces_it_is_the_same(
    cardinalities, num_frames, share_bits, flush_bits, most_bytes, seed
):
    random = np.random.default_rng(seed)
    prior = ToyPrior(cardinalities, 1 << share_bits)
    codes = random.integers(0, cardinalities, (num_frames, len(cardinalities)))
    encoder = StreamEncoder(prior, MODEL, flush_bits)
    decoder = StreamDecoder(prior, MODEL)
    pushed, decoded = 0, codes[:0]
    for count in pieces(random, num_frames, 7):
        sent = encoder.push(codes[pushed : pushed + count])
        pushed += count
        flushed = random.random() < 0.3
        sent += encoder.flush() if flushed else b""
        for length in pieces(random, len(sent), most_bytes):
            found = decoder.push(sent[:length])
            assert found.dtype == np.int64
            decoded = np.concatenate([decoded, found])
            sent = sent[length:]
        assert np.array_equal(decoded, codes[: len(decoded)])
        assert len(decoded) == pushed or not flushed
    decoded = np.concatenate([decoded, decoder.push(encoder.flush())])
    assert np.array_equal(decoded, codes)
    assert encoder.flush() == b""


def test_first_packet_needs_its_own_frames_only():
    prior, codes = skewed_prior(), skewed_codes(3, 12)
    encoder, decoder = StreamEncoder(prior, MODEL), StreamDecoder(prior, MODEL)
    for start in range(0, 12, 3):
        packet = encoder.push(codes[start : start + 3]) + encoder.flush()
        decoded = decoder.push(packet)
        assert np.array_equal(decoded, codes[start : start + 3])
        bits = prior.bits(codes[start : start + 3])
        # The flush and its own byte; the header in the first packet.
        assert 8 * len(packet) <= bits + 10 + 17 + 32 * (start == 0)


def test_without_flushes_a_stream_costs_what_its_codes_do():
    prior, codes = skewed_prior(), skewed_codes(5, 2000)
    encoder = StreamEncoder(prior, MODEL)
    sent = encoder.push(codes) + encoder.flush()
    assert 8 * len(sent) <= prior.bits(codes) * 1.002 + 8 * (4 + 3)


def test_bytes_follow_their_frames_closely():
    prior, codes = skewed_prior(), skewed_codes(6, 500)
    encoder, decoder = StreamEncoder(prior, MODEL), StreamDecoder(prior, MODEL)
    decoded, behind = 0, []
    for frame in range(len(codes)):
        decoded += len(decoder.push(encoder.push(codes[frame : frame + 1])))
        behind.append(frame + 1 - decoded)
    assert max(behind) <= 8
    assert np.mean(behind) < 3


def test_state_carries_over_a_flush():
    # Each frame tells the next one, which costs nearly nothing.
    prior = ToyPrior((200,), 1 << 8)
    codes = np.zeros((300, 1), int)
    for frame in range(1, 300):
        codes[frame] = (1 + 3 * codes[frame - 1]) % 200
    encoder = StreamEncoder(prior, MODEL, flush_bits=4)
    decoder = StreamDecoder(prior, MODEL)
    sizes = []
    for part in np.split(codes, 30):
        packet = encoder.push(part) + encoder.flush()
        sizes.append(len(packet))
        assert np.array_equal(decoder.push(packet), part)
    assert max(sizes[1:]) <= 2


def test_codes_that_hold_bytes_back_are_flushed(monkeypatch):
    # No real limit is ever met; below zero every frame meets it.
    monkeypatch.setattr(streaming, "MOST_HELD_BYTES", -1)
    prior, codes = skewed_prior(), skewed_codes(4, 50)
    encoder, decoder = StreamEncoder(prior, MODEL), StreamDecoder(prior, MODEL)
    for frame in codes:
        decoded = decoder.push(encoder.push(frame[np.newaxis]))
        assert decoded.tolist() == [frame.tolist()]
    assert encoder.flush() == b""


def test_buffers_of_a_long_stream_stay_small():
    prior = Stepped(skewed_prior())
    encoder, decoder = StreamEncoder(prior, MODEL), StreamDecoder(prior, MODEL)
    codes = skewed_codes(7, 30)
    decoder.push(encoder.push(codes))
    tracemalloc.start()
    for _ in range(20):
        assert len(decoder.push(encoder.push(codes))) > 20
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 50_000
    assert len(decoder._decoder.data) <= 16


@settings(deadline=None, max_examples=80)
@given(
    data=st.binary(max_size=60),
    flush_bits=st.integers(0, 17),
    context=st.booleans(),
)
def test_garbage_gives_codes_or_a_bitstream_error(data, flush_bits, context):
    prior = ToyPrior((16, 16), 1 << 22) if context else skewed_prior()
    for start in (b"", b"\xae" + MODEL + bytes([flush_bits])):
        decoder = StreamDecoder(prior, MODEL)
        try:
            codes = decoder.push(start + data)
        except BitstreamError as error:
            assert "\n" not in str(error)
            assert 0 <= error.offset <= len(start + data)
            with pytest.raises(BitstreamError, match="broken before"):
                decoder.push(b"")
        else:
            assert np.array_equal(prior.checked(codes), codes)


def test_streams_of_other_kinds_are_refused():
    prior = skewed_prior()
    for start, expected in (
        (b"RIFF", "stream: starts with 52"),
        (b"\xa9", "starts with a9, expected ae"),
        (b"\xae\xaa\xbb\x0a", "stream of model aabb, this is model cafe"),
        (b"\xae\xca\xfe\x00", "a flush of 0 bits, expected 1 to 16"),
        (b"\xae\xca\xfe\x11", "a flush of 17 bits"),
    ):
        with pytest.raises(BitstreamError, match=expected):
            StreamDecoder(prior, MODEL).push(start)


def test_a_damaged_flush_is_refused():
    prior, codes = skewed_prior(), skewed_codes(8, 40)
    encoder = StreamEncoder(prior, MODEL, flush_bits=2)
    sent = b"".join(
        encoder.push(codes[n : n + 1]) + encoder.flush() for n in range(40)
    )
    refused = 0
    for position in range(4, len(sent), 3):
        damaged = bytearray(sent)
        damaged[position] ^= 0x08
        try:
            StreamDecoder(prior, MODEL).push(bytes(damaged))
        except BitstreamError as error:
            refused += 1
            assert position - 12 <= error.offset <= len(sent)
    assert refused > 10


def test_settings_out_of_range():
    prior = skewed_prior()
    for flush_bits in (0, 17):
        with pytest.raises(ConfigurationError, match="flush_bits"):
            StreamEncoder(prior, MODEL, flush_bits)
    for build in (StreamEncoder, StreamDecoder):
        with pytest.raises(ConfigurationError, match="model_hash"):
            build(prior, b"abc")
    with pytest.raises(BitstreamError, match="expected 0 to 15"):
        StreamEncoder(prior, MODEL).push(np.array([[0, 16]]))
