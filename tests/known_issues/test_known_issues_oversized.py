"""Bytes that no code accounts for cost time and memory before a refusal.

A message of 4 MiB that said it held one frame had its checksum worked out and
its payload copied; a push of a stream was copied whole, and a broken stream
went on collecting; a context prior of 1024 entries kept 16 MiB of tables.
"""

import time
import tracemalloc

import numpy as np
import pytest

from speechbrain_acom.entropy.bitstream import read_message, write_message
from speechbrain_acom.entropy.endings import ByteLength, CodedLength, EndSymbol
from speechbrain_acom.entropy.framing import ONE_TO_ONE
from speechbrain_acom.entropy.limits import CODE_BYTES, FREE_BYTES
from speechbrain_acom.entropy.priors import ContextPrior, StaticPrior
from speechbrain_acom.entropy.session import Session
from speechbrain_acom.entropy.streaming import StreamDecoder, StreamEncoder
from speechbrain_acom.errors import BitstreamError

MODEL = b"\xca\xfe"
JUNK = bytes(4 << 20)
# Entries that are as rare as can be, so that codes take the most bytes.
RAREST = StaticPrior([np.array([65535, 1])] * 2)


def peak_bytes(function, *arguments):
    tracemalloc.start()
    try:
        return function(*arguments), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def refused(function, *arguments):
    with pytest.raises(BitstreamError) as caught:
        function(*arguments)
    return caught.value


@pytest.mark.parametrize(
    "start", ["a801", "a901", "ac0101", "ad0101", "a101", "a20101"]
)
def test_a_long_message_of_one_frame_is_refused_at_once(start):
    head = bytes.fromhex(start)
    message = head[:1] + MODEL + head[1:] + JUNK
    before = time.thread_time()
    error, peak = peak_bytes(refused, read_message, message, RAREST, MODEL)
    assert time.thread_time() - before < 0.1
    assert "bytes for 2 codes: expected at most" in str(error)
    assert error.offset == 3 and peak < 1 << 20


@pytest.mark.parametrize(
    "ending", [ByteLength(), CodedLength(), EndSymbol(100)], ids=type
)
@pytest.mark.parametrize("checksum", [False, True])
def test_a_long_message_of_a_session_is_refused_at_once(ending, checksum):
    session = Session(
        RAREST, MODEL, ONE_TO_ONE, ending, checksum=checksum, max_frames=100
    )
    error, peak = peak_bytes(refused, session.read, JUNK)
    assert f"expected at most {FREE_BYTES + CODE_BYTES * 300}" in str(error)
    assert peak < 1 << 20


def test_the_longest_codes_are_no_junk():
    codes = np.ones((40_000, 2), int)
    message = write_message(codes, len(codes), RAREST, MODEL)
    assert len(message) > 2 * FREE_BYTES
    assert read_message(message, RAREST, MODEL).codes.all()
    session = Session(RAREST, MODEL, ONE_TO_ONE, EndSymbol(40_000))
    message = session.write(codes, len(codes))
    assert session.read(message).num_frames == len(codes)


def test_a_long_push_is_not_copied():
    decoder = StreamDecoder(RAREST, MODEL)
    header = StreamEncoder(RAREST, MODEL).flush()[:4]
    _, peak = peak_bytes(refused, decoder.push, header + b"\xff" * (4 << 20))
    assert peak < len(JUNK) + (1 << 20)


def test_a_broken_stream_collects_nothing():
    decoder = StreamDecoder(RAREST, MODEL)
    refused(decoder.push, b"no stream")

    def pushed():
        for _ in range(4):
            refused(decoder.push, JUNK)

    assert peak_bytes(pushed)[1] < 1 << 20


def test_tables_of_many_entries_stay_within_what_a_message_may_take():
    random = np.random.default_rng(0)
    # Many contexts, each seen often.
    walks = random.integers(1, 4, (20, 1000, 1)).cumsum(axis=1) % 1024
    prior = ContextPrior.fit(walks, (1024,), order=1)
    codes = walks[0][:400]
    message = write_message(codes, 400, prior, MODEL)
    again = ContextPrior.from_content(prior.content())
    for one in (prior, again):
        read, peak = peak_bytes(read_message, message, one, MODEL)
        assert (read.codes == codes).all()
        assert peak < (1 << 20) + 64 * 400
