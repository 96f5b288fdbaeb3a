"""Codes without an end: bytes as soon as they are certain.

The coder's state carries over from one push to the next, and so does the
prior's. Before every frame a symbol says whether the writer flushes; after a
flush the coder starts anew behind a whole byte, the prior does not.
"""

from array import array
from collections.abc import Iterator
from os.path import commonprefix

import numpy as np

from speechbrain_acom.entropy.container import (
    MODEL_HASH_BYTES,
    STREAM,
    check_magic,
    check_model_hash,
    check_same_model,
    first_byte,
)
from speechbrain_acom.entropy.interval import (
    STATE_BYTES,
    WORD_BYTES,
    Interval,
    RangeDecoder,
    RangeEncoder,
)
from speechbrain_acom.entropy.limits import FrameLimit, check_max_frames
from speechbrain_acom.entropy.priors.contract import TOTAL_FREQUENCY, Prior
from speechbrain_acom.entropy.symbols import MessageTables, SymbolDecoder
from speechbrain_acom.errors import BitstreamError, ConfigurationError

HEADER_BYTES = 2 + MODEL_HASH_BYTES
# A carry that may still come holds bytes back. It is seldom more than two;
# codes that were chosen to hold back more are cut off by a flush.
MOST_HELD_BYTES = 64

_FRAME, _FLUSH = 0, 1
# Bytes of a push that are looked at at once: no copy of the others is needed.
_PIECE_BYTES = 1 << 14
_MOST_FLUSH_BITS = 16


class StreamEncoder:
    """Turns frames of codes into bytes, as they come.

    Arguments
    ---------
    prior : Prior
        Probabilities; the decoder needs the same.
    model_hash : bytes
        Two bytes that name the model.
    flush_bits : int
        What a flush costs, beside its last byte's unused bits; each frame
        then costs 1.44 / 2^flush_bits bits. More is better where flushes are
        further apart than 2^flush_bits frames.

    Raises
    ------
    ConfigurationError
        If ``model_hash`` is not two bytes, or ``flush_bits`` not from 1 to
        16.

    Example
    -------
    >>> from speechbrain_acom.entropy.priors import StaticPrior
    >>> codes = np.array([[0, 2], [0, 1], [1, 2]])
    >>> prior = StaticPrior.fit([codes], cardinalities=(2, 3))
    >>> encoder = StreamEncoder(prior, b"\\xca\\xfe")
    >>> decoder = StreamDecoder(prior, b"\\xca\\xfe")
    >>> decoder.push(encoder.push(codes)).tolist()
    []
    >>> decoder.push(encoder.flush()).tolist()
    [[0, 2], [0, 1], [1, 2]]
    """

    def __init__(
        self, prior: Prior, model_hash: bytes, flush_bits: int = 10
    ) -> None:
        check_model_hash(model_hash)
        if not 1 <= flush_bits <= _MOST_FLUSH_BITS:
            raise ConfigurationError(
                "flush_bits", flush_bits, f"1 to {_MOST_FLUSH_BITS}"
            )
        self._prior = prior
        self._tables = MessageTables(prior)
        self._flags = _flag_edges(flush_bits)
        self._header = first_byte(STREAM) + model_hash + bytes([flush_bits])
        self._segment = _Segment()

    def push(self, codes: np.ndarray) -> bytes:
        """Code some frames.

        Arguments
        ---------
        codes : np.ndarray
            Integers, shape (frame, K).

        Returns
        -------
        bytes
            What is certain by now, maybe nothing.

        Raises
        ------
        ConfigurationError
            If this is not an array of integers with K columns.
        BitstreamError
            If a code is not an entry of its codebook.
        """
        sent = [self._take_header()]
        for frame in self._prior.checked(codes).tolist():
            self._flag(_FRAME)
            for codebook, entry in enumerate(frame):
                table = self._tables.edges(codebook)
                self._segment.encode(int(table[entry]), int(table[entry + 1]))
                self._tables.update(codebook, entry)
            sent.append(self._segment.certain_bytes())
            if self._segment.held_bytes > MOST_HELD_BYTES:
                sent.append(self.flush())
        return b"".join(sent)

    def flush(self) -> bytes:
        """End the bytes so that all frames so far can be decoded.

        Returns
        -------
        bytes
            About one byte and ``flush_bits`` bits more than the frames take;
            nothing, if there is no frame since the last flush.
        """
        header = self._take_header()
        if self._segment.interval.untouched:
            return header
        self._flag(_FLUSH)
        ending = self._segment.finish(complete=True)
        self._segment = _Segment()
        return header + ending

    def _flag(self, flag: int) -> None:
        self._segment.encode(*self._flags[flag : flag + 2].tolist())

    def _take_header(self) -> bytes:
        header, self._header = self._header, b""
        return header


class _Segment(RangeEncoder):
    """What is coded between two flushes; it forgets bytes that were sent."""

    def __init__(self) -> None:
        super().__init__()
        # Bytes of the numbers that are kept, which were sent already.
        self._sent = 0

    @property
    def held_bytes(self) -> int:
        """Bytes that are kept, beside the coder's state."""
        return WORD_BYTES * len(self._left)

    def certain_bytes(self) -> bytes:
        """Bytes that all numbers of the interval share and were not sent."""
        length = STATE_BYTES + self.held_bytes
        lower = self.lower
        low = lower.to_bytes(length, "big")
        high = (lower + self.interval.size - 1).to_bytes(length, "big")
        shared = len(commonprefix([low, high]))
        certain = low[self._sent : shared]
        words = min(shared // WORD_BYTES, len(self._left))
        kept = np.frombuffer(low, ">u4")[words:]
        self._left = kept[:-2].tolist()
        self.interval.lower = int.from_bytes(kept[-2:].tobytes(), "big")
        self._sent = shared - WORD_BYTES * words
        return certain

    def finish(self, complete: bool = False) -> bytes:
        """The rest of the shortest bytes that decode to what was coded."""
        distance, zero_bytes = self.interval.shortest(complete)
        length = STATE_BYTES + self.held_bytes
        number = (self.lower + distance).to_bytes(length, "big")
        return number[self._sent : length - zero_bytes]


class StreamDecoder:
    """Turns the bytes of a stream into frames of codes, as they come.

    Arguments
    ---------
    prior : Prior
        The prior that the encoder uses.
    model_hash : bytes
        Two bytes that name this model.
    max_frames : int | None
        Frames of codes that one push may give at most; None: 1024, and 256
        more for each byte of the push.

    Raises
    ------
    ConfigurationError
        If ``model_hash`` is not two bytes, or ``max_frames`` less than 1.
    """

    def __init__(
        self, prior: Prior, model_hash: bytes, max_frames: int | None = None
    ) -> None:
        check_model_hash(model_hash)
        check_max_frames(max_frames)
        self._model_hash = model_hash
        self._max_frames = max_frames
        self._columns = len(prior.cardinalities)
        self._decoder = RangeDecoder(bytearray())
        self._symbols = SymbolDecoder(self._decoder, MessageTables(prior))
        self._frames: Iterator[list[int] | None] = self._read()

    def push(self, received: bytes) -> np.ndarray:
        """Take some bytes.

        Arguments
        ---------
        received : bytes
            The next bytes of the stream, however many.

        Returns
        -------
        np.ndarray
            Codes, int64, shape (frame, K), of all frames that no byte to come
            can change and that were not returned before.

        Raises
        ------
        BitstreamError
            If the bytes are no stream, or one of another model, or no encoder
            writes them, or they give too many frames; from then on at every
            push.
        """
        limit = FrameLimit(len(received), self._max_frames)
        codes, num_frames, most = array("q"), 0, limit.frames
        view = memoryview(received)
        try:
            for start in range(0, max(len(view), 1), _PIECE_BYTES):
                self._decoder.data += view[start : start + _PIECE_BYTES]
                for frame in self._certain_frames():
                    codes.extend(frame)
                    num_frames += 1
                    if num_frames > most:
                        limit.check("push", num_frames, self._decoder.place)
        except BitstreamError:
            self._frames = iter(())
            self._decoder.data.clear()
            raise
        # The same memory: a copy would double it.
        found = np.frombuffer(codes, dtype=np.int64)
        return found.reshape(-1, self._columns)

    def _certain_frames(self) -> Iterator[list[int]]:
        """Frames that no byte to come can change."""
        for frame in self._frames:
            if frame is None:
                self._forget(self._decoder.interval.words * WORD_BYTES)
                self._decoder.interval.words = 0
                return
            yield frame
        raise BitstreamError(
            "stream: it was broken before, expected no more of it: start a "
            "new one",
            self._decoder.first_byte,
        )

    def _read(self) -> Iterator[list[int] | None]:
        """Frames, and None wherever more bytes are needed."""
        decoder = self._decoder
        while len(decoder.data) < HEADER_BYTES:
            self._check_header()
            yield None
        flags = self._check_header()
        self._forget(HEADER_BYTES)
        while True:
            while (flag := decoder.decode_certain(flags)) is None:
                yield None
            if flag == _FLUSH:
                self._end_segment()
                continue
            frame = []
            for codebook in range(self._columns):
                entry = self._symbols.certain_entry(codebook)
                while entry is None:
                    yield None
                    entry = self._symbols.certain_entry(codebook)
                frame.append(entry)
            yield frame

    def _check_header(self) -> np.ndarray | None:
        """Edges of the flags, once the header is there; raise if it is bad."""
        header = bytes(self._decoder.data[:HEADER_BYTES])
        if header:
            check_magic(header, "stream")
        if header and header[:1] != first_byte(STREAM):
            raise BitstreamError(
                f"stream: starts with {header[0]:02x}, expected "
                f"{first_byte(STREAM).hex()}: this is no stream",
                0,
            )
        if len(header) < HEADER_BYTES:
            return None
        check_same_model(header[1:-1], self._model_hash, "stream")
        if not 1 <= header[-1] <= _MOST_FLUSH_BITS:
            raise BitstreamError(
                f"stream: found a flush of {header[-1]} bits, expected 1 to "
                f"{_MOST_FLUSH_BITS}: forged, for no encoder writes this",
                HEADER_BYTES - 1,
            )
        return _flag_edges(header[-1])

    def _end_segment(self) -> None:
        """Go on behind the last byte of a flush."""
        decoder, interval = self._decoder, self._decoder.interval
        distance, zero_bytes = interval.shortest(complete=True)
        length = interval.num_bytes - zero_bytes
        whole = RangeDecoder(bytes(decoder.data[:length]), 0, interval)
        if whole.offset != distance:
            raise decoder.error(
                "whose flush is not the shortest", "those of an encoder"
            )
        self._forget(length)
        decoder.interval = Interval()

    def _forget(self, count: int) -> None:
        """Drop bytes that nothing depends on any more."""
        del self._decoder.data[:count]
        self._decoder.first_byte += count


def _flag_edges(flush_bits: int) -> np.ndarray:
    flush = TOTAL_FREQUENCY >> flush_bits
    return np.array([0, TOTAL_FREQUENCY - flush, TOTAL_FREQUENCY])
