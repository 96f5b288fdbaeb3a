"""Range coder: codes to the shortest bytes that decode again, and back.

Codes go in plane by plane, coarse to fine: all frames of codebook 0, then all
of codebook 1. What no context changes is coded by constriction in one call a
plane; with other priors each code waits for the one before. Both give the
same bytes.
"""

import numpy as np
from constriction import stream

from speechbrain_acom.entropy.framing import ONE_TO_ONE, Framing
from speechbrain_acom.entropy.interval import (
    STATE_BITS,
    Interval,
    RangeDecoder,
    RangeEncoder,
    number_bytes,
)
from speechbrain_acom.entropy.planes import (
    constant_model,
    plane_decoder,
    take_interval,
)
from speechbrain_acom.entropy.priors.contract import Prior
from speechbrain_acom.entropy.symbols import code_edges, constant_tables
from speechbrain_acom.errors import BitstreamError


def encode(codes: np.ndarray, prior: Prior, complete: bool = False) -> bytes:
    """Turn codes into a payload.

    Arguments
    ---------
    codes : np.ndarray
        Integers, shape (frame, K).
    prior : Prior
        Probabilities; the decoder needs the same.
    complete : bool
        Whether the payload has to decode whatever bytes may follow, which
        takes about a byte more. Otherwise zeros follow.

    Returns
    -------
    bytes
        The shortest payload that decodes to these codes. No frame at all
        gives no byte at all.

    Raises
    ------
    ConfigurationError
        If this is not an array of integers with K columns.
    BitstreamError
        If a code is not an entry of its codebook.

    Example
    -------
    >>> from speechbrain_acom.entropy.priors import StaticPrior
    >>> codes = np.array([[0, 2], [0, 1], [1, 2]])
    >>> prior = StaticPrior.fit([codes], cardinalities=(2, 3))
    >>> encode(codes, prior).hex()
    '55'
    """
    tables = constant_tables(prior)
    if tables is not None:
        return _constant_payload(prior.checked(codes), tables, complete)
    encoder = RangeEncoder()
    for plane in code_edges(codes, prior).swapaxes(0, 1):
        for left, right in plane.tolist():
            encoder.encode(left, right)
    return encoder.finish(complete)


def decode(
    payload: bytes,
    num_frames: int,
    prior: Prior,
    framing: Framing = ONE_TO_ONE,
    first_byte: int = 0,
) -> np.ndarray:
    """Turn a payload back into codes.

    Arguments
    ---------
    payload : bytes
        What :func:`encode` gave.
    num_frames : int
        Frames at the cut that the codes cover: a payload does not tell where
        it ends.
    prior : Prior
        The prior that :func:`encode` used.
    framing : Framing
        Frames at the cut that each frame of codes covers; one, by default.
    first_byte : int
        Where the payload stands in its message, for errors to tell.

    Returns
    -------
    np.ndarray
        Codes, int64, shape (code frame, K).

    Raises
    ------
    BitstreamError
        If the payload is not the shortest one of any codes, or the last run
        ends after the last frame.

    Example
    -------
    >>> from speechbrain_acom.entropy.priors import StaticPrior
    >>> codes = np.array([[0, 2], [0, 1], [1, 2]])
    >>> prior = StaticPrior.fit([codes], cardinalities=(2, 3))
    >>> decode(bytes.fromhex("55"), 3, prior).tolist()
    [[0, 2], [0, 1], [1, 2]]
    """
    decoder = RangeDecoder(payload, first_byte)
    *_, codes = plane_decoder(decoder, prior).decoded(num_frames, framing)
    check_shortest(decoder, decoder.shortest())
    return codes


def decode_certain(
    payload: bytes,
    num_frames: int,
    prior: Prior,
    framing: Framing = ONE_TO_ONE,
    first_byte: int = 0,
) -> np.ndarray:
    """Decode the planes of a payload that may have been cut.

    Arguments
    ---------
    payload : bytes
        The first bytes of what :func:`encode` gave as a complete payload.
    num_frames, prior, framing, first_byte
        As for :func:`decode`.

    Returns
    -------
    np.ndarray
        Codes, int64, shape (code frame, k): those planes that are the same
        whatever the missing bytes were.

    Raises
    ------
    BitstreamError
        If not even the run lengths and the first codebook are certain, the
        last run ends after the last frame, or there are more bytes than the
        codes need.
    """
    decoder = RangeDecoder(payload, first_byte)
    planes, certain = plane_decoder(decoder, prior), 0
    try:
        for filled in planes.decoded(num_frames, framing):
            if not decoder.certain:
                raise decoder.error("which end too early", "more of them")
            codes, certain = filled, certain + 1
    except BitstreamError:
        # Behind a cut there are bytes that no codes give, too.
        if certain <= framing.run_columns:
            raise
    else:
        check_shortest(decoder, decoder.shortest(complete=True))
    return codes[:, :certain]


def check_shortest(decoder: RangeDecoder, shortest: bytes) -> None:
    """Raise BitstreamError unless the payload is the one of its codes."""
    if bytes(decoder.data) != shortest:
        raise decoder.error(
            "more or others than the shortest",
            f"the {len(shortest)} bytes that its codes give",
        )


def _constant_payload(
    codes: np.ndarray, tables: list[np.ndarray], complete: bool
) -> bytes:
    """What :func:`encode` gives for tables that never change."""
    encoder = stream.queue.RangeEncoder()
    for column, table in zip(codes.T, tables, strict=True):
        model = constant_model(table)
        if model is not None:
            encoder.encode(column.astype(np.int32), model)
    interval = Interval()
    take_interval(interval, encoder)
    # The library's own words are one number of the interval. The distance to
    # its lower end is below 2^64: right whatever carry is still to come.
    words = encoder.get_compressed().astype(">u4").tobytes()
    inside = int.from_bytes(words.ljust(interval.num_bytes, b"\0"), "big")
    lower = inside - (inside - interval.lower) % (1 << STATE_BITS)
    return number_bytes(interval, lower, complete)
