"""Every form of a message, there and back, under priors that look around.

Decoders ask a prior in other orders than encoders, and for one code at a time;
a neural base under an adaptive prior has to follow, too.
"""

from itertools import pairwise

import every_prior
import numpy as np
import pytest
from every_prior import CARDINALITIES, chained_codes, fitted

from speechbrain_acom.entropy.bitstream import (
    MessageOptions,
    read_header,
    read_message,
    write_message,
)
from speechbrain_acom.entropy.endings import (
    ByteLength,
    CodedLength,
    EndSymbol,
)
from speechbrain_acom.entropy.framing import ONE_TO_ONE, Framing
from speechbrain_acom.entropy.priors import AdaptivePrior, Prior
from speechbrain_acom.entropy.session import Session
from speechbrain_acom.entropy.streaming import StreamDecoder, StreamEncoder
from speechbrain_acom.errors import BitstreamError

MODEL = b"\xca\xfe"
FRAMES = 30

every_kind = pytest.mark.parametrize(
    "kind", [*every_prior.FITS, "adaptive_attentive"]
)
# Of runs of 1 to 6 frames the first codebook tells the length.
framings = pytest.mark.parametrize(
    "framing",
    [ONE_TO_ONE, Framing(merge=3), Framing(run_lengths=True)],
    ids=["one_to_one", "merged", "runs"],
)


def prior_of(kind: str) -> Prior:
    if kind == "adaptive_attentive":
        return AdaptivePrior(fitted("attentive"), strength=2)
    return fitted(kind)


def message_codes(framing: Framing, seed: int = 31) -> np.ndarray:
    """Codes that cover all frames, with unlikely ones among them."""
    count = framing.most_code_frames(FRAMES)
    codes = chained_codes(seed, count)
    codes[::7] = np.array(CARDINALITIES) - 1
    return framing.trimmed(codes, FRAMES)


@every_kind
@framings
@pytest.mark.parametrize("checksum", [True, False])
def test_file_form(kind, framing, checksum):
    prior, codes = prior_of(kind), message_codes(framing)
    options = MessageOptions(checksum)
    for columns in range(1 + framing.run_columns, len(CARDINALITIES) + 1):
        sent = codes[:, :columns]
        message = write_message(sent, FRAMES, prior, MODEL, framing, options)
        result = read_message(message, prior, MODEL, framing)
        assert np.array_equal(result.codes, sent)
        assert result.num_frames == FRAMES
        bits = prior.first(columns).bits(sent)
        assert 8 * result.payload_bytes < bits + 8 + 0.1


@every_kind
@framings
@pytest.mark.parametrize(
    "ending",
    [ByteLength(), EndSymbol(FRAMES), CodedLength()],
    ids=["bytes", "symbol", "length"],
)
def test_session_form(kind, framing, ending):
    prior = prior_of(kind)
    device, cloud = (
        Session(prior, MODEL, framing, ending, checksum=True) for _ in range(2)
    )
    cloud.check(device.handshake())
    for seed in (32, 33):
        codes = message_codes(framing, seed)
        message = device.write(codes, FRAMES)
        result = cloud.read(message)
        assert np.array_equal(result.codes, codes)
        assert result.num_frames == FRAMES


@every_kind
@pytest.mark.parametrize("flushed", [True, False])
def test_stream_form(kind, flushed):
    prior, codes = prior_of(kind), message_codes(ONE_TO_ONE)
    encoder, decoder = StreamEncoder(prior, MODEL), StreamDecoder(prior, MODEL)
    decoded = []
    for start, stop in pairwise((0, 1, 1, 8, 20, FRAMES)):
        packet = encoder.push(codes[start:stop])
        if flushed or stop == FRAMES:
            packet += encoder.flush()
        for byte in packet:
            decoded += decoder.push(bytes([byte])).tolist()
        # Never another code than those that were sent.
        assert decoded == codes[: len(decoded)].tolist()
        assert len(decoded) == stop or not flushed
    assert decoded == codes.tolist()


@every_kind
@framings
def test_scalable_form_cut_at_every_byte(kind, framing):
    prior, codes = prior_of(kind), message_codes(framing)
    options = MessageOptions(scalable=True)
    message = write_message(codes, FRAMES, prior, MODEL, framing, options)
    came = 0
    for length in range(read_header(message).header_bytes, len(message) + 1):
        try:
            cut = read_message(message[:length], prior, MODEL, framing)
        except BitstreamError:
            assert came == 0
            continue
        assert cut.num_codebooks >= came
        came = cut.num_codebooks
        assert np.array_equal(cut.codes, codes[:, : cut.codes.shape[1]])
    assert came == len(CARDINALITIES) - framing.run_columns


@every_kind
def test_another_prior_is_refused_or_gives_other_codes(kind):
    prior, codes = prior_of(kind), message_codes(ONE_TO_ONE)
    other = fitted("static" if kind != "static" else "context")
    message = Session(prior, MODEL).write(codes, FRAMES)
    with pytest.raises(BitstreamError, match="session of other prior"):
        Session(prior, MODEL).check(Session(other, MODEL).handshake())
    try:
        result = Session(other, MODEL).read(message)
    except BitstreamError:
        return
    assert not np.array_equal(result.codes, codes)
