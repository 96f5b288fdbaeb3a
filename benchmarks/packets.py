"""Utterances in packets, as a receiver can put them together again.

A packet is its number in the utterance, from 0 (LEB128: one byte up to 127,
two from then on); then a message of a session, whose length, which the
transport knows, says how many frames it holds; then, if wished, a CRC-8 of all
of this. How many frames a whole packet has is agreed on, as the session is.

At the end of an utterance its number of frames at the cut (LEB128) follows on
a line that loses and damages nothing: or else nobody could tell how many
packets got lost at the end.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from code_sets import CodeSet
from message_worker import Job, read_elsewhere

from speechbrain_acom.entropy.bitstream import Message
from speechbrain_acom.entropy.container import (
    MAX_FRAMES,
    check_crc,
    crc8,
    read_count,
    varint,
)
from speechbrain_acom.entropy.session import Session
from speechbrain_acom.errors import (
    BitstreamError,
    ConfigurationError,
    DataError,
)
from speechbrain_acom.studies.results import Row

# The number of a packet, and its message or None, where that was refused.
Arrived = tuple[int, Message | None]


@dataclass(frozen=True)
class Packets:
    """What two sides agree on to send utterances in packets.

    Arguments
    ---------
    session : Session
        It codes each packet on its own, without a checksum.
    frames : int
        Frames of codes in a packet; fewer in the last one.
    checksum : bool
        Whether a byte is spent on a CRC-8 of every packet.

    Raises
    ------
    ConfigurationError
        If runs of like frames are merged.
    """

    session: Session
    frames: int
    checksum: bool = False

    def __post_init__(self) -> None:
        if self.session.framing.run_lengths:
            raise ConfigurationError(
                "merge_mode",
                "similar",
                "average or projection: a lost run has lost its length, too",
            )

    def write(self, codes: np.ndarray, num_frames: int) -> list[bytes]:
        """Packets of an utterance.

        Arguments
        ---------
        codes : np.ndarray
            Integers, shape (code frame, K).
        num_frames : int
            Frames at the cut.

        Returns
        -------
        list[bytes]
            One after the other.
        """
        packets, covered = [], self.frames * self.session.framing.merge
        for number, start in enumerate(range(0, len(codes), self.frames)):
            part = codes[start : start + self.frames]
            length = min(covered, num_frames - number * covered)
            packet = varint(number) + self.session.write(part, length)
            if self.checksum:
                packet += bytes([crc8(packet)])
            packets.append(packet)
        return packets

    def end(self, num_frames: int) -> bytes:
        """What follows the last packet."""
        return varint(num_frames)

    def opened(self, packet: bytes) -> tuple[int, bytes]:
        """Number and message of a packet.

        Arguments
        ---------
        packet : bytes
            What arrived.

        Returns
        -------
        tuple[int, bytes]
            The message is still coded.

        Raises
        ------
        BitstreamError
            If it is damaged.
        """
        if self.checksum:
            check_crc(packet, 1)
            packet = packet[:-1]
        number, start = read_count(packet, 0, MAX_FRAMES, "packets")
        return number, packet[start:]

    def assembled(
        self, arrived: Iterable[Arrived], num_frames: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """An utterance from the packets that arrived.

        Arguments
        ---------
        arrived : Iterable[Arrived]
            In their order. Refused are those of no such number, of a number
            that was there before, and of another number of frames than the
            packet has.
        num_frames : int
            Frames at the cut, as the end says.

        Returns
        -------
        codes : np.ndarray
            int64, shape (code frame, K); 0 where a frame was lost.
        lost : np.ndarray
            bool, shape (code frame,).
        """
        count = self.session.framing.most_code_frames(num_frames)
        columns = len(self.session.prior.cardinalities)
        codes = np.zeros((count, columns), dtype=np.int64)
        lost = np.ones(count, dtype=bool)
        for number, message in arrived:
            place = slice(number * self.frames, (number + 1) * self.frames)
            expected = lost[place]
            if message is None or len(message.codes) != len(expected):
                continue
            if expected.all():
                codes[place], lost[place] = message.codes, False
        return codes, lost


def received(
    packets: Packets, utterances: Sequence[Sequence[bytes]]
) -> list[list[Arrived]]:
    """Open packets, and read their messages in another process.

    Arguments
    ---------
    packets : Packets
        What the sides agreed on.
    utterances : Sequence[Sequence[bytes]]
        Packets of each utterance that arrived.

    Returns
    -------
    list[list[Arrived]]
        The same packets, without those that cannot be opened.
    """
    opened = [
        [each for packet in arrived if (each := _opened(packets, packet))]
        for arrived in utterances
    ]
    # Equal bytes hold equal codes, whatever utterance they are of.
    distinct = list({coded: None for each in opened for _, coded in each})
    (reads,) = read_elsewhere([Job(packets.session, distinct)])
    messages = dict(zip(distinct, reads, strict=True))
    return [
        [(number, messages[coded]) for number, coded in each] for each in opened
    ]


def _opened(packets: Packets, packet: bytes) -> tuple[int, bytes] | None:
    try:
        return packets.opened(packet)
    except BitstreamError:
        return None


def sent_packets(packets: Packets, codes: CodeSet) -> list[list[bytes]]:
    """Packets of every utterance of a set."""
    utterances = zip(codes.utterances, codes.num_frames.tolist(), strict=True)
    return [packets.write(*utterance) for utterance in utterances]


def rates(
    packets: Packets,
    codes: CodeSet,
    sent: Sequence[Sequence[bytes]],
    read: Sequence[Sequence[Arrived]],
) -> Row:
    """What packets cost, once they have been read.

    Arguments
    ---------
    packets : Packets
        What the sides agreed on.
    codes : CodeSet
        What was coded.
    sent : Sequence[Sequence[bytes]]
        Packets of each utterance.
    read : Sequence[Sequence[Arrived]]
        What :func:`received` gave of all of them.

    Returns
    -------
    Row
        "payload_bps" of the coded frames, "message_bps" of everything: with
        numbers, checksums and ends.

    Raises
    ------
    DataError
        If other codes came back.
    """
    lengths = codes.num_frames.tolist()
    for expected, arrived, length in zip(
        codes.utterances, read, lengths, strict=True
    ):
        found, lost = packets.assembled(arrived, length)
        if lost.any() or not np.array_equal(found, expected):
            raise DataError(
                "packets: found other codes after decoding, expected those "
                "that were encoded"
            )
    payload = sum(
        message.payload_bytes for arrived in read for _, message in arrived
    )
    size = sum(len(packet) for each in sent for packet in each)
    size += sum(len(packets.end(length)) for length in lengths)
    seconds = float(codes.seconds.sum())
    return {
        "payload_bps": 8 * payload / seconds,
        "message_bps": 8 * size / seconds,
    }
