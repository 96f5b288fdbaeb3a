"""Payloads of versions 1 and 2, which went frame by frame."""

from array import array

import numpy as np

from speechbrain_acom.entropy.coder import check_shortest
from speechbrain_acom.entropy.framing import Framing
from speechbrain_acom.entropy.interval import RangeDecoder
from speechbrain_acom.entropy.planes import check_runs
from speechbrain_acom.entropy.priors.contract import Prior
from speechbrain_acom.entropy.symbols import MessageTables, SymbolDecoder

MOST_ZERO_BYTES = 64


def decode_frames(
    payload: bytes,
    num_frames: int,
    prior: Prior,
    framing: Framing,
    first_byte: int = 0,
) -> np.ndarray:
    """Turn a payload of version 1 or 2 into codes.

    Zeros at the end of these payloads were never written, however many they
    were: no bytes are a valid payload of any number of frames, all codes of
    which are 0. Behind other bytes, codes that are worth more than
    ``MOST_ZERO_BYTES`` zeros do not happen but by forgery (1 in 2^512), and
    are refused, so that a forged count takes no time.

    Arguments
    ---------
    payload : bytes
        Codes frame by frame and, inside a frame, codebook by codebook.
    num_frames : int
        Frames at the cut that the codes cover.
    prior : Prior
        The prior that the codes were written with.
    framing : Framing
        Frames at the cut that each frame of codes covers.
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
    >>> from speechbrain_acom.entropy.framing import ONE_TO_ONE
    >>> from speechbrain_acom.entropy.priors import StaticPrior
    >>> codes = np.array([[0, 2], [0, 1], [1, 2]])
    >>> prior = StaticPrior.fit([codes], cardinalities=(2, 3))
    >>> decode_frames(b"\\x5c", 3, prior, ONE_TO_ONE).tolist()
    [[0, 2], [0, 1], [1, 2]]
    """
    decoder = RangeDecoder(payload, first_byte)
    symbols = SymbolDecoder(decoder, MessageTables(prior))
    columns = len(prior.cardinalities)
    if not payload:
        most = framing.most_code_frames(num_frames)
        return np.zeros((most, columns), dtype=np.int64)
    # Not in one piece of their full length: the count may be forged.
    codes, left = array("q"), num_frames
    # A frame of codes covers at least one frame, so this ends.
    while left > 0:
        frame = symbols.frame()
        decoder.check_length(MOST_ZERO_BYTES)
        codes.extend(frame)
        left -= framing.covered(frame)
    if framing.run_lengths:
        check_runs(left, num_frames, decoder)
    check_shortest(decoder, decoder.shortest().rstrip(b"\0"))
    # The same memory: a copy would double it.
    return np.frombuffer(codes, dtype=np.int64).reshape(-1, columns)
