"""What stands round a payload: first byte, header, checksum.

The format is described byte by byte in docs/bitstream.md.
"""

from dataclasses import dataclass

from speechbrain_acom.entropy.limits import (
    FREE_BYTES,
    MAX_FRAMES,
    check_size,
)
from speechbrain_acom.errors import BitstreamError, ConfigurationError

MAGIC = 0xA
# The low half of the first byte. Versions 1 and 2 differ in the number of
# codebooks; version 3 has a bit for a checksum and two for the layout.
ALL_CODEBOOKS, FIRST_CODEBOOKS = 1, 2
VERSION_3, CHECKSUM_BIT = 0b1000, 0b0001
WHOLE, FIRST, SCALABLE, AGREED = 0b000, 0b010, 0b100, 0b110
LAYOUT_BITS = 0b110
# Both are of the layout that two sides agree on once.
STREAM = VERSION_3 | AGREED
SESSION = STREAM | CHECKSUM_BIT

MODEL_HASH_BYTES = 2
# More than any prior has; a larger number is not worth reading to its end.
MAX_CODEBOOKS = 1 << 16

# What a number of frames or codebooks takes at most.
COUNT_BYTES = 3
# Behind the hash stands the number of frames.
HASH_END = 1 + MODEL_HASH_BYTES
_CRC_POLYNOMIAL = 0x07
# What the checksum is combined with at its end. Without it, as in versions 1
# and 2, zeros behind a message leave the checksum right.
CRC_END, OLD_CRC_END = 0x55, 0x00


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
        k, where the message says that the first k codebooks were sent. None:
        all of them.
    header_bytes : int
        Bytes before the payload.
    payload_bytes : int
        Bytes of the payload.
    scalable : bool
        Whether the payload may be cut.
    """

    version: int
    model_hash: bytes
    num_frames: int
    num_codebooks: int | None
    header_bytes: int
    payload_bytes: int
    scalable: bool = False


def first_byte(form: int) -> bytes:
    """The magic and a form: a version, or version 3 with its bits."""
    return bytes([MAGIC << 4 | form])


def check_model_hash(model_hash: bytes) -> None:
    """Raise ConfigurationError unless a hash is two bytes."""
    if len(model_hash) != MODEL_HASH_BYTES:
        raise ConfigurationError(
            "model_hash", model_hash.hex(), f"{MODEL_HASH_BYTES} bytes"
        )


def check_same_model(found: bytes, model_hash: bytes, what: str) -> None:
    """Raise BitstreamError if the two bytes name another model or prior."""
    check_model_hash(model_hash)
    if found != model_hash:
        raise BitstreamError(
            f"{what} of model {found.hex()}, this is model "
            f"{model_hash.hex()} (another model, or the same with another "
            "prior): decode it with the model and the prior that wrote it",
            1,
        )


def read_header(
    message: bytes,
    model_hash: bytes | None = None,
    codes_per_frame: int | None = None,
) -> Header:
    """Check a message and read its header, without decoding the payload.

    Arguments
    ---------
    message : bytes
        What :func:`~speechbrain_acom.entropy.bitstream.write_message` gave.
    model_hash : bytes | None
        Two bytes that name this model. None accepts every model.
    codes_per_frame : int | None
        Codebooks of this model, and one for run lengths: a message of more
        bytes than its codes can make is then refused before all of it is
        looked at. None accepts any size.

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
    >>> read_header(bytes.fromhex("a8cafe0355")).num_frames
    3
    """
    form = _checked_form(message)
    old = form in (ALL_CODEBOOKS, FIRST_CODEBOOKS)
    layout = form & LAYOUT_BITS
    scalable = not old and layout == SCALABLE
    checked = old or form & CHECKSUM_BIT
    if codes_per_frame is not None and len(message) > FREE_BYTES:
        head = message[: HASH_END + COUNT_BYTES]
        num_frames, _ = read_count(head, HASH_END, MAX_FRAMES, "frames")
        num_codes = num_frames * codes_per_frame
        check_size("message", len(message), num_codes, HASH_END)
    # The checksum of a message that may be cut stands before the payload.
    end = len(message) - 1 if checked and not scalable else len(message)
    if end < len(message):
        check_crc(message, HASH_END + 1, OLD_CRC_END if old else CRC_END)
    if len(message) <= HASH_END:
        raise _cut_short(message, HASH_END + 1)
    num_frames, start = read_count(
        message[:end], HASH_END, MAX_FRAMES, "frames"
    )
    num_codebooks = None
    if form == FIRST_CODEBOOKS or not old and layout != WHOLE:
        num_codebooks, start = read_count(
            message[:end], start, MAX_CODEBOOKS, "codebooks"
        )
    if checked and scalable:
        check_crc(message[: start + 1], start)
        start += 1
    if model_hash is not None:
        check_same_model(message[1:HASH_END], model_hash, "message")
    return Header(
        version=form if old else 3,
        model_hash=message[1:HASH_END],
        num_frames=num_frames,
        num_codebooks=num_codebooks,
        header_bytes=start,
        payload_bytes=end - start,
        scalable=scalable,
    )


def check_magic(message: bytes, what: str) -> None:
    """Raise BitstreamError unless there is a first byte with the magic."""
    if not message:
        raise _cut_short(message, HASH_END + 1)
    if message[0] >> 4 != MAGIC:
        raise BitstreamError(
            f"{what}: starts with {message[0]:02x}, expected a first half-byte "
            f"{MAGIC:x}: this is no {what}",
            0,
        )


def _checked_form(message: bytes) -> int:
    """Raise unless there is a first byte of this magic and a known form."""
    check_magic(message, "message")
    form = message[0] & 0xF
    if form in (STREAM, SESSION):
        raise BitstreamError(
            f"message: starts with {message[0]:02x}, which starts a stream or "
            "a session: read it with StreamDecoder or Session",
            0,
        )
    if form not in (ALL_CODEBOOKS, FIRST_CODEBOOKS) and not form & VERSION_3:
        raise BitstreamError(
            f"message of an unknown version: starts with {message[0]:02x}, "
            "this reader knows a1 (version 1), a2 (version 2) and a8 to ad "
            "(version 3): use the same release on both sides",
            0,
        )
    return form


def _cut_short(message: bytes, expected: int) -> BitstreamError:
    return BitstreamError(
        f"message cut short: found {len(message)} bytes, expected at "
        f"least {expected}: send it again",
        len(message),
    )


def check_crc(
    message: bytes, checked_bytes: int, crc_end: int = CRC_END
) -> None:
    """Make sure that the last byte is the checksum of all before it.

    Arguments
    ---------
    message : bytes
        Everything up to the checksum, and it.
    checked_bytes : int
        How many bytes stand before it at least.
    crc_end : int
        What the checksum is combined with at its end.

    Raises
    ------
    BitstreamError
        If there are fewer bytes, or the checksum is another one.
    """
    if len(message) <= checked_bytes:
        raise _cut_short(message, checked_bytes + 1)
    expected = crc8(message[:-1], crc_end)
    if message[-1] != expected:
        raise BitstreamError(
            f"message of {len(message)} bytes cut short or corrupted: found "
            f"checksum {message[-1]:02x}, expected {expected:02x}: "
            "send it again",
            len(message) - 1,
        )


def read_count(
    message: bytes, start: int, most: int, what: str
) -> tuple[int, int]:
    """An unsigned LEB128 number of a message.

    Arguments
    ---------
    message : bytes
        The message, up to where the number may go.
    start : int
        Where it starts.
    most : int
        What it may be at most.
    what : str
        What it counts, for errors.

    Returns
    -------
    tuple[int, int]
        The number, and where it ends.

    Raises
    ------
    BitstreamError
        If it is larger, cut short or not of the shortest form.
    """
    value = 0
    for count, byte in enumerate(message[start : start + COUNT_BYTES]):
        value |= (byte & 0x7F) << 7 * count
        if value > most:
            break
        if byte < 0x80:
            if byte == 0 and count > 0:
                break
            return value, start + count + 1
    if value > most:
        raise BitstreamError(
            f"message of more than {most} {what}: forged, for no encoder "
            "writes this",
            start,
        )
    raise BitstreamError(
        f"message: the number of {what} is malformed, expected the shortest "
        "form of a variable-length integer: send it again",
        start,
    )


def varint(value: int) -> bytes:
    """Unsigned LEB128: seven bits a byte, low ones first, 0x80 if more.

    Example
    -------
    >>> varint(300).hex(" ")
    'ac 02'
    """
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


def crc8(data: bytes, crc_end: int = CRC_END) -> int:
    """CRC-8 with polynomial x^8 + x^2 + x + 1, starting from 0.

    Arguments
    ---------
    data : bytes
        What to check.
    crc_end : int
        What it is combined with at its end, by exclusive or.

    Returns
    -------
    int
        One byte.

    Example
    -------
    >>> hex(crc8(b"123456789"))
    '0xa1'
    """
    remainder = 0
    for byte in data:
        remainder = _CRC_TABLE[remainder ^ byte]
    return remainder ^ crc_end
