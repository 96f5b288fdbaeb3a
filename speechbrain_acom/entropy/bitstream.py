"""The message that goes over the wire: a small container round a payload.

The format is described byte by byte in docs/bitstream.md.
"""

from dataclasses import dataclass

import numpy as np

from speechbrain_acom.entropy.coder import decode, encode
from speechbrain_acom.entropy.framing import ONE_TO_ONE, Framing
from speechbrain_acom.entropy.priors import StaticPrior
from speechbrain_acom.errors import BitstreamError, ConfigurationError

MAGIC = 0xA
# Version 2 says how many codebooks it holds; version 1 holds all of them.
ALL_CODEBOOKS, FIRST_CODEBOOKS = 1, 2
MODEL_HASH_BYTES = 2
# 43 minutes at 25 frames/s. It bounds what a forged count can make a reader
# allocate: a payload of no bytes is a valid one of any number of frames.
MAX_FRAMES = 1 << 16
# More than any prior has; a larger number is not worth reading to its end.
MAX_CODEBOOKS = 1 << 16

_HASH_END = 1 + MODEL_HASH_BYTES
_SHORTEST_MESSAGE = _HASH_END + 2
_CRC_POLYNOMIAL = 0x07


@dataclass(frozen=True)
class Header:
    """What a message says about itself before its payload is decoded.

    Arguments
    ---------
    version : int
        Version of the format.
    model_hash : bytes
        Two bytes that name the model.
    num_frames : int
        Frames at the cut, before merging.
    num_codebooks : int | None
        k, where only the first k codebooks were sent. None: all of them.
    header_bytes : int
        Bytes before the payload.
    payload_bytes : int
        Bytes of the payload.
    """

    version: int
    model_hash: bytes
    num_frames: int
    num_codebooks: int | None
    header_bytes: int
    payload_bytes: int


@dataclass(frozen=True)
class Message:
    """What a message held.

    Arguments
    ---------
    codes : np.ndarray
        Codes, int64, shape (code frame, k): the run lengths, if the framing
        has them, then one column a codebook that was sent.
    num_frames : int
        Frames at the cut, before merging.
    payload_bytes : int
        Bytes of the payload.
    """

    codes: np.ndarray
    num_frames: int
    payload_bytes: int


def write_message(
    codes: np.ndarray,
    num_frames: int,
    prior: StaticPrior,
    model_hash: bytes,
    framing: Framing = ONE_TO_ONE,
) -> bytes:
    """Code one utterance into one message.

    Arguments
    ---------
    codes : np.ndarray
        Integers, shape (code frame, K), or the first columns of these, where
        only the first k codebooks are sent.
    num_frames : int
        Frames at the cut, before merging.
    prior : StaticPrior
        Probabilities; the reader needs the same.
    model_hash : bytes
        Two bytes that name the model.
    framing : Framing
        Frames at the cut that each frame of codes covers; one, by default.

    Returns
    -------
    bytes
        Five bytes and the payload; one more from 128 frames on, and one more
        again from 16384 frames on. One more, too, where not all codebooks are
        sent.

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
    >>> codes = np.array([[0, 2], [0, 1], [1, 2]])
    >>> prior = StaticPrior.fit([codes], cardinalities=(2, 3))
    >>> write_message(codes, 3, prior, b"\\xca\\xfe").hex(" ")
    'a1 ca fe 03 5c 4b'
    >>> write_message(codes[:, :1], 3, prior, b"\\xca\\xfe").hex(" ")
    'a2 ca fe 03 01 3f d5'
    """
    _check_model_hash(model_hash)
    if num_frames > MAX_FRAMES:
        raise ConfigurationError(
            "num_frames",
            num_frames,
            f"at most {MAX_FRAMES}: code a longer recording in pieces",
        )
    sent, truncated = prior, b""
    codes = np.asarray(codes)
    columns = codes.shape[-1] if codes.ndim == 2 else 0
    if framing.run_columns < columns < len(prior.cardinalities):
        sent = prior.first(columns)
        truncated = _varint(columns - framing.run_columns)
    payload = encode(codes, sent)
    framing.check(codes, num_frames)
    version = FIRST_CODEBOOKS if truncated else ALL_CODEBOOKS
    start = bytes([MAGIC << 4 | version]) + model_hash
    body = start + _varint(num_frames) + truncated + payload
    return body + bytes([_crc8(body)])


def read_header(message: bytes, model_hash: bytes | None = None) -> Header:
    """Check a message and read its header, without decoding the payload.

    Arguments
    ---------
    message : bytes
        What :func:`write_message` gave.
    model_hash : bytes | None
        Two bytes that name this model. None accepts every model.

    Returns
    -------
    Header
        The fields of the header.

    Raises
    ------
    BitstreamError
        If the message is empty, no message, of another version, cut short,
        corrupted, of another model, or too long; one line that says which.

    Example
    -------
    >>> read_header(bytes.fromhex("a1cafe035c4b")).num_frames
    3
    """
    _check_start(message)
    _check_crc(message)
    found_hash = message[1:_HASH_END]
    if model_hash is not None:
        _check_model_hash(model_hash)
        if found_hash != model_hash:
            raise BitstreamError(
                f"message of model {found_hash.hex()}, this is model "
                f"{model_hash.hex()}: decode it with the model that wrote it"
            )
    num_frames, header_bytes = _read_count(
        message, _HASH_END, MAX_FRAMES, "frames"
    )
    version, num_codebooks = message[0] & 0xF, None
    if version == FIRST_CODEBOOKS:
        num_codebooks, header_bytes = _read_count(
            message, header_bytes, MAX_CODEBOOKS, "codebooks"
        )
    return Header(
        version=version,
        model_hash=found_hash,
        num_frames=num_frames,
        num_codebooks=num_codebooks,
        header_bytes=header_bytes,
        payload_bytes=len(message) - header_bytes - 1,
    )


def read_message(
    message: bytes,
    prior: StaticPrior,
    model_hash: bytes,
    framing: Framing = ONE_TO_ONE,
) -> Message:
    """Decode one message.

    Arguments
    ---------
    message : bytes
        What :func:`write_message` gave.
    prior : StaticPrior
        The prior of the model that wrote it.
    model_hash : bytes
        Two bytes that name this model.
    framing : Framing
        Frames at the cut that each frame of codes covers; one, by default.

    Returns
    -------
    Message
        Codes, frames at the cut and the size of the payload.

    Raises
    ------
    BitstreamError
        As :func:`read_header`, or if there are not that many codebooks, runs
        end after the last frame, or the payload is not the one that the
        encoder gives for the decoded codes.

    Example
    -------
    >>> codes = np.array([[0, 2], [0, 1], [1, 2]])
    >>> prior = StaticPrior.fit([codes], cardinalities=(2, 3))
    >>> message = write_message(codes, 3, prior, b"\\xca\\xfe")
    >>> read_message(message, prior, b"\\xca\\xfe").codes.tolist()
    [[0, 2], [0, 1], [1, 2]]
    """
    header = read_header(message, model_hash)
    sent = _sent_prior(header, prior, framing)
    payload = message[header.header_bytes : -1]
    codes = decode(payload, header.num_frames, sent, framing)
    if encode(codes, sent) != payload:
        raise BitstreamError(
            f"payload: found {len(payload)} bytes, expected the shortest ones "
            "for their codes: corrupted, or of another prior; send it again"
        )
    return Message(codes, header.num_frames, header.payload_bytes)


def _sent_prior(
    header: Header, prior: StaticPrior, framing: Framing
) -> StaticPrior:
    """The tables of the codes that a message holds."""
    if header.num_codebooks is None:
        return prior
    books = len(prior.cardinalities) - framing.run_columns
    # All of them have a shorter spelling.
    if not 1 <= header.num_codebooks < books:
        raise BitstreamError(
            f"message of the first {header.num_codebooks} codebooks, expected "
            f"1 to {books - 1} of {books}: forged, for no encoder writes this"
        )
    return prior.first(framing.run_columns + header.num_codebooks)


def _check_model_hash(model_hash: bytes) -> None:
    if len(model_hash) != MODEL_HASH_BYTES:
        raise ConfigurationError(
            "model_hash", model_hash.hex(), f"{MODEL_HASH_BYTES} bytes"
        )


def _check_start(message: bytes) -> None:
    """Raise unless there is a first byte of this magic and a known version."""
    if not message:
        raise BitstreamError(
            "message: found 0 bytes, expected at least "
            f"{_SHORTEST_MESSAGE}: send it again"
        )
    magic, version = message[0] >> 4, message[0] & 0xF
    if magic != MAGIC:
        raise BitstreamError(
            f"message: starts with {message[0]:02x}, expected "
            f"{MAGIC:x}{ALL_CODEBOOKS:x}: this is no message"
        )
    if version not in (ALL_CODEBOOKS, FIRST_CODEBOOKS):
        raise BitstreamError(
            f"message of version {version}, this reader knows versions "
            f"{ALL_CODEBOOKS} and {FIRST_CODEBOOKS}: use the same release on "
            "both sides"
        )


def _check_crc(message: bytes) -> None:
    """Raise if the last byte is not the checksum of all before it."""
    if len(message) < _SHORTEST_MESSAGE:
        raise BitstreamError(
            f"message cut short: found {len(message)} bytes, expected at "
            f"least {_SHORTEST_MESSAGE}: send it again"
        )
    expected = _crc8(message[:-1])
    if message[-1] != expected:
        raise BitstreamError(
            f"message of {len(message)} bytes cut short or corrupted: found "
            f"checksum {message[-1]:02x}, expected {expected:02x}: "
            "send it again"
        )


def _read_count(
    message: bytes, start: int, most: int, what: str
) -> tuple[int, int]:
    """An unsigned LEB128 number and where it ends."""
    value = 0
    for count, byte in enumerate(message[start:-1]):
        value |= (byte & 0x7F) << 7 * count
        if value > most:
            raise BitstreamError(
                f"message of more than {most} {what}: forged, for no encoder "
                "writes this"
            )
        if byte < 0x80:
            if byte == 0 and count > 0:
                break
            return value, start + count + 1
    raise BitstreamError(
        f"message: the number of {what} is malformed, expected the shortest "
        "form of a variable-length integer: send it again"
    )


def _varint(value: int) -> bytes:
    """Unsigned LEB128: seven bits a byte, low ones first, 0x80 if more."""
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])


def _crc8_of_byte(byte: int) -> int:
    for _ in range(8):
        carry = byte & 0x80
        byte = (byte << 1 & 0xFF) ^ (_CRC_POLYNOMIAL if carry else 0)
    return byte


_CRC_TABLE = bytes(_crc8_of_byte(byte) for byte in range(256))


def _crc8(data: bytes) -> int:
    """CRC-8 with polynomial x^8 + x^2 + x + 1, starting from 0."""
    remainder = 0
    for byte in data:
        remainder = _CRC_TABLE[remainder ^ byte]
    return remainder
