"""Range coder: codes to the shortest bytes that decode again, and back.

Codes go in frame by frame and, inside a frame, codebook by codebook from
coarse to fine, so that a decoder can stop after any frame. The arithmetic is
that of ``constriction.stream.queue``.
"""

import numpy as np
from constriction import stream

from speechbrain_acom.entropy.framing import ONE_TO_ONE, Framing
from speechbrain_acom.entropy.priors import StaticPrior
from speechbrain_acom.entropy.priors.static import TABLE_TOTAL
from speechbrain_acom.errors import BitstreamError

_WORD_BYTES = 4
_STATE_WORDS = 2
_STATE_BYTES = _STATE_WORDS * _WORD_BYTES


def encode(codes: np.ndarray, prior: StaticPrior) -> bytes:
    """Turn codes into a payload.

    Arguments
    ---------
    codes : np.ndarray
        Integers, shape (frame, K).
    prior : StaticPrior
        Probabilities; the decoder needs the same.

    Returns
    -------
    bytes
        The shortest payload that decodes to these codes. It never ends in a
        zero byte; no frame at all gives no byte at all.

    Raises
    ------
    ConfigurationError
        If this is not an array of integers with K columns.
    BitstreamError
        If a code is not an entry of its codebook.

    Example
    -------
    >>> codes = np.array([[0, 2], [0, 1], [1, 2]])
    >>> prior = StaticPrior.fit([codes], cardinalities=(2, 3))
    >>> encode(codes, prior).hex()
    '5c'
    """
    coded, models = _models(prior)
    encoder = stream.queue.RangeEncoder()
    for frame in prior.checked(codes)[:, coded].tolist():
        for entry, model in zip(frame, models, strict=True):
            encoder.encode(entry, model)
    return _shortest_payload(encoder)


def decode(
    payload: bytes,
    num_frames: int,
    prior: StaticPrior,
    framing: Framing = ONE_TO_ONE,
) -> np.ndarray:
    """Turn a payload back into codes.

    Arguments
    ---------
    payload : bytes
        What :func:`encode` gave.
    num_frames : int
        Frames at the cut that the codes cover: a payload does not tell where
        it ends.
    prior : StaticPrior
        The prior that :func:`encode` used.
    framing : Framing
        Frames at the cut that each frame of codes covers; one, by default.

    Returns
    -------
    np.ndarray
        Codes, int64, shape (code frame, K).

    Raises
    ------
    BitstreamError
        If no codes whatever could have given this payload, or the last run
        ends after the last frame.

    Example
    -------
    >>> codes = np.array([[0, 2], [0, 1], [1, 2]])
    >>> prior = StaticPrior.fit([codes], cardinalities=(2, 3))
    >>> decode(bytes.fromhex("5c"), 3, prior).tolist()
    [[0, 2], [0, 1], [1, 2]]
    """
    coded, models = _models(prior)
    padded = payload + bytes(-len(payload) % _WORD_BYTES)
    # Behind its last word the decoder reads zeros, as many as it needs.
    words = np.frombuffer(padded, ">u4").astype(np.uint32)
    decoder = stream.queue.RangeDecoder(words)
    frames, left = [], num_frames
    try:
        # A frame of codes covers at least one frame, so this ends.
        while left > 0:
            frame = np.zeros(len(prior.cardinalities), dtype=np.int64)
            frame[coded] = [decoder.decode(model) for model in models]
            frames.append(frame)
            left -= framing.covered(frame)
    except AssertionError as error:
        raise BitstreamError(
            f"payload: found {len(payload)} bytes that no codes of "
            f"{num_frames} frames give, expected a payload of this prior: "
            "send it again"
        ) from error
    if framing.run_lengths and left < 0:
        raise BitstreamError(
            f"payload: found runs of {num_frames - left} frames, expected "
            f"{num_frames}: forged, for no encoder writes this"
        )
    return np.array(frames, dtype=np.int64).reshape(
        len(frames), len(prior.cardinalities)
    )


def _models(
    prior: StaticPrior,
) -> tuple[np.ndarray, list[stream.model.Categorical]]:
    """Codebooks that cost bits, and the coder's model of each."""
    # A codebook of one entry costs nothing, and the coder refuses it.
    coded = np.flatnonzero(np.array(prior.cardinalities) > 1)
    # The quotients are exact. perfect=False leaves the coder no logarithm to
    # round: it maps the table to 24 bits by one product per entry and gives
    # every entry at least 1. Strided arrays it would silently misread.
    models = [
        stream.model.Categorical(
            np.ascontiguousarray(prior.tables[index] / TABLE_TOTAL),
            perfect=False,
        )
        for index in coded
    ]
    return coded, models


def _shortest_payload(encoder: stream.queue.RangeEncoder) -> bytes:
    """The shortest bytes that, followed by zeros, decode to what went in.

    All numbers from ``lower`` up to, but not including, ``lower + size``
    decode to the same codes. The encoder's own words are one such number, to
    a multiple of 32 bits; wanted is the one with the most zeros at its end.
    """
    position, (lower_state, size) = encoder.pos()
    num_bytes = (position + _STATE_WORDS) * _WORD_BYTES
    words = encoder.get_compressed().astype(">u4").tobytes()
    inside = int.from_bytes(words.ljust(num_bytes, b"\0"), "big")
    # The state holds the last 64 bits of the lower end. The distance to it is
    # below 2^64, so this is right whatever carry is still to come.
    lower = inside - (inside - lower_state) % (1 << 8 * _STATE_BYTES)
    # The interval is shorter than 2^64: with eight zero bytes there is at most
    # one number in it, and any with more zeros is that one.
    for zero_bytes in range(_STATE_BYTES, -1, -1):
        unit = 1 << 8 * zero_bytes
        candidate = -(-lower // unit) * unit
        if candidate < lower + size:
            break
    return candidate.to_bytes(num_bytes, "big").rstrip(b"\0")
