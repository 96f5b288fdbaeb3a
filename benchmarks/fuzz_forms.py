"""Every form of message, its writer and its reader, for the fuzzer."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from speechbrain_acom.entropy.bitstream import (
    MessageOptions,
    read_message,
    write_message,
)
from speechbrain_acom.entropy.container import (
    CRC_END,
    OLD_CRC_END,
    crc8,
    varint,
)
from speechbrain_acom.entropy.endings import ByteLength, CodedLength, EndSymbol
from speechbrain_acom.entropy.framing import ONE_TO_ONE, Framing
from speechbrain_acom.entropy.interval import RangeEncoder
from speechbrain_acom.entropy.priors import Prior
from speechbrain_acom.entropy.session import Session
from speechbrain_acom.entropy.streaming import StreamDecoder, StreamEncoder
from speechbrain_acom.entropy.symbols import code_edges

MODEL = b"\xca\xfe"
# What readers take at most; the longest messages have as many.
MOST_FRAMES = 400
GROUPS, RUNS = Framing(merge=3), Framing(run_lengths=True)
# Bytes before the number of frames.
HEADER = 3


@dataclass(frozen=True)
class Form:
    """A kind of message, its writer and its reader.

    Arguments
    ---------
    name : str
        Of the form.
    start : int
        Bytes before the number of frames, which forgeries keep.
    write : Callable[[np.ndarray], bytes]
        A message of codes.
    read : Callable[[bytes], int]
        Frames of codes of a message.
    seal : Callable[[bytes], bytes] | None
        Puts a right checksum into a message; None, if the form has none.
    covers_all : bool
        Whether the checksum is that of the whole message.
    named : bool
        Whether bytes 1 and 2 name the model.
    """

    name: str
    start: int
    write: Callable[[np.ndarray], bytes]
    read: Callable[[bytes], int]
    seal: Callable[[bytes], bytes] | None = None
    covers_all: bool = False
    named: bool = True


def forms(prior: Prior) -> Iterator[Form]:
    """Every form of message over a prior."""
    yield from _files(prior)
    yield from _old_files(prior)
    yield from _sessions(prior)
    yield Form(
        "stream",
        HEADER + 1,
        lambda codes: stream_of(codes, prior),
        lambda message: len(
            StreamDecoder(prior, MODEL, MOST_FRAMES).push(message)
        ),
    )


def _files(prior: Prior) -> Iterator[Form]:
    books = len(prior.cardinalities)
    few = books // 2
    checked, bare = MessageOptions(), MessageOptions(checksum=False)
    sealed = MessageOptions(scalable=True)
    cut = MessageOptions(checksum=False, scalable=True)
    for name, columns, framing, options in (
        ("file, checksum", books, ONE_TO_ONE, checked),
        ("file", books, ONE_TO_ONE, bare),
        ("first k, checksum", few, ONE_TO_ONE, checked),
        ("first k", few, ONE_TO_ONE, bare),
        ("scalable, checksum", books, ONE_TO_ONE, sealed),
        ("scalable", books, ONE_TO_ONE, cut),
        ("groups, checksum", books, GROUPS, checked),
        ("runs, checksum", books, RUNS, checked),
        ("scalable runs, checksum", books, RUNS, sealed),
    ):
        yield _file(name, prior, columns, framing, options)


def _file(
    name: str,
    prior: Prior,
    columns: int,
    framing: Framing,
    options: MessageOptions,
) -> Form:
    def write(codes: np.ndarray) -> bytes:
        kept, num_frames = framed(codes[:, :columns], framing)
        return write_message(kept, num_frames, prior, MODEL, framing, options)

    seal = sealed_header if options.scalable else sealed_end
    return Form(
        name,
        HEADER,
        write,
        _reader(prior, framing),
        seal if options.checksum else None,
        covers_all=options.checksum and not options.scalable,
    )


def _old_files(prior: Prior) -> Iterator[Form]:
    books = len(prior.cardinalities)
    for name, columns, framing in (
        ("version 1", books, ONE_TO_ONE),
        ("version 1, runs", books, RUNS),
        ("version 2", books // 2, ONE_TO_ONE),
    ):

        def write(
            codes: np.ndarray,
            columns: int = columns,
            framing: Framing = framing,
        ) -> bytes:
            return old_message(codes[:, :columns], prior, framing)

        yield Form(
            name,
            HEADER,
            write,
            _reader(prior, framing),
            lambda message: sealed_end(message, OLD_CRC_END),
            covers_all=True,
        )


def _sessions(prior: Prior) -> Iterator[Form]:
    plain = Session(prior, MODEL)
    for name, framing, ending, checksum in (
        ("session", ONE_TO_ONE, ByteLength(), False),
        ("session, checksum", ONE_TO_ONE, ByteLength(), True),
        ("session, end symbol", ONE_TO_ONE, EndSymbol(50), False),
        ("session, coded length", ONE_TO_ONE, CodedLength(), False),
        ("session, groups", GROUPS, ByteLength(), False),
        ("session, runs", RUNS, EndSymbol(50), True),
    ):
        session = Session(prior, MODEL, framing, ending, checksum, MOST_FRAMES)
        yield Form(
            name,
            0,
            lambda codes, session=session: session.write(
                *framed(codes, session.framing)
            ),
            lambda message, session=session: len(session.read(message).codes),
            sealed_end if checksum else None,
            covers_all=checksum,
            named=False,
        )
    yield Form(
        "handshake",
        HEADER,
        lambda codes: plain.handshake(),
        lambda message: plain.check(message) or 0,
    )


def _reader(prior: Prior, framing: Framing) -> Callable[[bytes], int]:
    return lambda message: len(
        read_message(message, prior, MODEL, framing, MOST_FRAMES).codes
    )


def framed(codes: np.ndarray, framing: Framing) -> tuple[np.ndarray, int]:
    """Codes that cover as many frames as there were, and how many these are.

    Groups: one frame less than whole ones, where there are any.
    """
    if framing.run_lengths:
        return framing.trimmed(codes, len(codes)), len(codes)
    count = len(codes) // framing.merge
    return codes[:count], max(count * framing.merge - (framing.merge > 1), 0)


def sealed_end(message: bytes, crc_end: int = CRC_END) -> bytes:
    """A message whose last byte is the checksum of all before it."""
    body = message[:-1]
    return body + bytes([crc8(body, crc_end)]) if message else message


def sealed_header(message: bytes) -> bytes:
    """A scalable message with the checksum of its header."""
    end = behind_number(message, behind_number(message, HEADER))
    if end >= len(message):
        return message
    return message[:end] + bytes([crc8(message[:end])]) + message[end + 1 :]


def behind_number(message: bytes, start: int) -> int:
    """Where an LEB128 number that starts at a byte ends."""
    end = start
    while end < len(message) and end < start + 2 and message[end] >= 0x80:
        end += 1
    return end + 1


def old_message(
    codes: np.ndarray, prior: Prior, framing: Framing = ONE_TO_ONE
) -> bytes:
    """A message of version 1 or 2: frame by frame, no zeros at its end."""
    columns, books = codes.shape[1], len(prior.cardinalities)
    kept, num_frames = framed(codes, framing)
    encoder = RangeEncoder()
    found = code_edges(kept, prior.first(columns))
    for left, right in found.reshape(-1, 2).tolist():
        encoder.encode(left, right)
    payload = encoder.finish().rstrip(b"\0")
    first, number = (b"\xa1", b"")
    if columns < books:
        first, number = b"\xa2", varint(columns)
    body = first + MODEL + varint(num_frames) + number + payload
    return body + bytes([crc8(body, OLD_CRC_END)])


def stream_of(codes: np.ndarray, prior: Prior) -> bytes:
    """Packets of 25 frames, the last of them flushed."""
    encoder = StreamEncoder(prior, MODEL)
    packets = [
        encoder.push(codes[n : n + 25]) for n in range(0, len(codes), 25)
    ]
    return b"".join(packets) + encoder.flush()
