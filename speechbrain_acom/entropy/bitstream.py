"""The message that goes over the wire: one utterance, one string of bytes.

The format is described byte by byte in docs/bitstream.md.
"""

from dataclasses import dataclass

import numpy as np

from speechbrain_acom.entropy.coder import decode, decode_certain, encode
from speechbrain_acom.entropy.container import (
    CHECKSUM_BIT,
    FIRST,
    HASH_END,
    SCALABLE,
    VERSION_3,
    WHOLE,
    Header,
    check_model_hash,
    crc8,
    first_byte,
    read_header,
    varint,
)
from speechbrain_acom.entropy.framing import ONE_TO_ONE, Framing
from speechbrain_acom.entropy.legacy import decode_frames
from speechbrain_acom.entropy.limits import (
    MAX_FRAMES,
    FrameLimit,
    check_readable,
    check_writable,
)
from speechbrain_acom.entropy.priors.contract import Prior
from speechbrain_acom.errors import BitstreamError

__all__ = [
    "MAX_FRAMES",
    "Header",
    "Message",
    "MessageOptions",
    "read_header",
    "read_message",
    "write_message",
]


@dataclass(frozen=True)
class MessageOptions:
    """What a writer may choose; a message tells its reader.

    Arguments
    ---------
    checksum : bool
        Whether a byte is spent on a CRC-8: of the whole message, or of the
        header, where the rest may be cut.
    scalable : bool
        Whether the message may be cut after any byte behind its header. It
        then takes about two bytes more: the number of codebooks, and an end
        that can be told from a cut.
    """

    checksum: bool = True
    scalable: bool = False


DEFAULT_OPTIONS = MessageOptions()


@dataclass(frozen=True)
class Message:
    """What a message held.

    Arguments
    ---------
    codes : np.ndarray
        Codes, int64, shape (code frame, k): the run lengths, if the framing
        has them, then one column a codebook that came.
    num_frames : int
        Frames at the cut, before merging.
    payload_bytes : int
        Bytes of the payload.
    num_codebooks : int
        Codebooks that came.
    sent_codebooks : int
        Codebooks that the writer had sent: more, if the message was cut.
    """

    codes: np.ndarray
    num_frames: int
    payload_bytes: int
    num_codebooks: int
    sent_codebooks: int


def write_message(
    codes: np.ndarray,
    num_frames: int,
    prior: Prior,
    model_hash: bytes,
    framing: Framing = ONE_TO_ONE,
    options: MessageOptions = DEFAULT_OPTIONS,
) -> bytes:
    """Code one utterance into one message.

    Arguments
    ---------
    codes : np.ndarray
        Integers, shape (code frame, K), or the first columns of these, where
        only the first k codebooks are sent.
    num_frames : int
        Frames at the cut, before merging.
    prior : Prior
        Probabilities; the reader needs the same.
    model_hash : bytes
        Two bytes that name the model.
    framing : Framing
        Frames at the cut that each frame of codes covers; one, by default.
    options : MessageOptions
        Whether there is a checksum, and whether the message may be cut.

    Returns
    -------
    bytes
        The payload and four bytes; one more from 128 frames on, and one more
        again from 16384 frames on. One more with a checksum, and one where
        the number of codebooks is said (two from 128 codebooks on, three from
        16384): where not all are sent, or where the message may be cut.

    Raises
    ------
    ConfigurationError
        If ``model_hash`` is not two bytes, ``num_frames`` is out of range or
        not what the codes cover, or ``codes`` are not integers with K columns
        or fewer.
    BitstreamError
        If a code is not an entry of its codebook.

    Example
    -------
    >>> from speechbrain_acom.entropy.priors import StaticPrior
    >>> codes = np.array([[0, 2], [0, 1], [1, 2]])
    >>> prior = StaticPrior.fit([codes], cardinalities=(2, 3))
    >>> write_message(codes, 3, prior, b"\\xca\\xfe").hex(" ")
    'a9 ca fe 03 55 38'
    >>> write_message(codes[:, :1], 3, prior, b"\\xca\\xfe").hex(" ")
    'ab ca fe 03 01 3f e6'
    """
    check_model_hash(model_hash)
    codes = np.asarray(codes)
    columns = codes.shape[-1] if codes.ndim == 2 else 0
    check_writable(num_frames, max(columns, 1))
    layout, sent = WHOLE, prior
    if framing.run_columns < columns < len(prior.cardinalities):
        layout, sent = FIRST, prior.first(columns)
    if options.scalable:
        layout = SCALABLE
    payload = encode(codes, sent, complete=options.scalable)
    framing.check(codes, num_frames)
    form = VERSION_3 | layout | (CHECKSUM_BIT if options.checksum else 0)
    header = first_byte(form) + model_hash + varint(num_frames)
    if layout != WHOLE:
        header += varint(columns - framing.run_columns)
    if not options.checksum:
        return header + payload
    if options.scalable:
        return _sealed(header) + payload
    return _sealed(header + payload)


def read_message(
    message: bytes,
    prior: Prior,
    model_hash: bytes,
    framing: Framing = ONE_TO_ONE,
    max_frames: int | None = None,
) -> Message:
    """Decode one message.

    It takes time and memory in proportion to its frames, which few bytes may
    hold many of: docs/bitstream.md says how much.

    Arguments
    ---------
    message : bytes
        What :func:`write_message` gave; if it is scalable, the first bytes of
        it.
    prior : Prior
        The prior of the model that wrote it.
    model_hash : bytes
        Two bytes that name this model.
    framing : Framing
        Frames at the cut that each frame of codes covers; one, by default.
    max_frames : int | None
        Frames at the cut that are read at most: what the longest recording
        has that is to be expected. None: 1024, and 256 more for each byte of
        the message, which real recordings stay far below. A message of more
        is refused before anything of it is decoded.

    Returns
    -------
    Message
        Codes, frames at the cut and the size of the payload.

    Raises
    ------
    ConfigurationError
        If ``max_frames`` is less than 1.
    BitstreamError
        As :func:`read_header`, or if there are too many frames, there are not
        that many codebooks, runs end after the last frame, or the payload is not the one that the
        encoder gives for the decoded codes.

    Example
    -------
    >>> from speechbrain_acom.entropy.priors import StaticPrior
    >>> codes = np.array([[0, 2], [0, 1], [1, 2]])
    >>> prior = StaticPrior.fit([codes], cardinalities=(2, 3))
    >>> message = write_message(codes, 3, prior, b"\\xca\\xfe")
    >>> read_message(message, prior, b"\\xca\\xfe").codes.tolist()
    [[0, 2], [0, 1], [1, 2]]
    """
    limit = FrameLimit(len(message), max_frames)
    header = read_header(message, model_hash, len(prior.cardinalities))
    sent = _sent_prior(header, prior, framing)
    codes_per_frame = len(sent.cardinalities)
    check_readable("message", header.num_frames, codes_per_frame, HASH_END)
    limit.check("message", header.num_frames, HASH_END)
    end = header.header_bytes + header.payload_bytes
    if header.scalable:
        read = decode_certain
    else:
        read = decode if header.version == 3 else decode_frames
    codes = read(
        message[header.header_bytes : end],
        header.num_frames,
        sent,
        framing,
        header.header_bytes,
    )
    return Message(
        codes,
        header.num_frames,
        header.payload_bytes,
        num_codebooks=codes.shape[1] - framing.run_columns,
        sent_codebooks=codes_per_frame - framing.run_columns,
    )


def _sealed(body: bytes) -> bytes:
    return body + bytes([crc8(body)])


def _sent_prior(header: Header, prior: Prior, framing: Framing) -> Prior:
    """The tables of the codes that a message holds."""
    if header.num_codebooks is None:
        return prior
    books = len(prior.cardinalities) - framing.run_columns
    # All of them have a shorter spelling, unless the message may be cut.
    most = books if header.scalable else books - 1
    if not 1 <= header.num_codebooks <= most:
        raise BitstreamError(
            f"message of the first {header.num_codebooks} codebooks, expected "
            f"1 to {most} of {books}: forged, for no encoder writes this",
            1,
        )
    return prior.first(framing.run_columns + header.num_codebooks)
