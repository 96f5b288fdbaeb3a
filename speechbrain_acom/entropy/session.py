"""Messages between two sides that agreed on the model beforehand."""

import hashlib
from array import array
from dataclasses import dataclass, field

import numpy as np

from speechbrain_acom.entropy.bitstream import Message
from speechbrain_acom.entropy.container import (
    SESSION,
    check_crc,
    check_magic,
    check_model_hash,
    check_same_model,
    crc8,
    first_byte,
)
from speechbrain_acom.entropy.endings import ByteLength, Ending, uniform_edges
from speechbrain_acom.entropy.framing import ONE_TO_ONE, Framing
from speechbrain_acom.entropy.interval import RangeDecoder, RangeEncoder
from speechbrain_acom.entropy.limits import (
    FrameLimit,
    check_max_frames,
    check_readable,
    check_size,
    check_writable,
    longest_message,
)
from speechbrain_acom.entropy.priors import prior_digest
from speechbrain_acom.entropy.priors.contract import Prior
from speechbrain_acom.entropy.symbols import (
    MessageTables,
    SymbolDecoder,
    code_edges,
)
from speechbrain_acom.errors import BitstreamError

_DIGEST_BYTES = 2
_HANDSHAKE_BYTES = 7


@dataclass(frozen=True)
class Session:
    """What two sides agree on once, so that messages need not say it.

    A message is then a payload and nothing else; its codes stand frame by
    frame.

    Arguments
    ---------
    prior : Prior
        Probabilities, of the codebooks that are sent.
    model_hash : bytes
        Two bytes that name the model.
    framing : Framing
        Frames at the cut that each frame of codes covers; one, by default.
    ending : Ending
        How a reader learns which frame is the last one; by default from the
        length of the message.
    checksum : bool
        Whether a byte is spent on a CRC-8 behind the payload.
    max_frames : int | None
        Frames at the cut that this side reads at most of one message; None:
        1024, and 256 more for each byte. Each side has its own.

    Raises
    ------
    ConfigurationError
        If ``model_hash`` is not two bytes, or ``max_frames`` less than 1.

    Example
    -------
    >>> from speechbrain_acom.entropy.priors import StaticPrior
    >>> codes = np.array([[0, 2], [0, 1], [1, 2]])
    >>> prior = StaticPrior.fit([codes], cardinalities=(2, 3))
    >>> device, cloud = Session(prior, b"\\xca\\xfe"), Session(prior, b"\\xca\\xfe")
    >>> cloud.check(device.handshake())
    >>> message = device.write(codes, num_frames=3)
    >>> message.hex(" "), cloud.read(message).codes.tolist()
    ('5c', [[0, 2], [0, 1], [1, 2]])
    """

    prior: Prior
    model_hash: bytes
    framing: Framing = ONE_TO_ONE
    ending: Ending = field(default_factory=ByteLength)
    checksum: bool = False
    max_frames: int | None = None
    _handshake: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_model_hash(self.model_hash)
        check_max_frames(self.max_frames)
        # Once: all of the prior is read for it, which may be megabytes.
        handshake = (
            first_byte(SESSION)
            + self.model_hash
            + prior_digest(self.prior)[:_DIGEST_BYTES]
            + self._settings_digest()
        )
        object.__setattr__(self, "_handshake", handshake)

    def handshake(self) -> bytes:
        """Seven bytes that name the model, its prior and the settings."""
        return self._handshake

    def check(self, handshake: bytes) -> None:
        """Make sure that the other side has agreed on the same.

        Arguments
        ---------
        handshake : bytes
            What :meth:`handshake` gave there.

        Raises
        ------
        BitstreamError
            If it is none, or of another model, prior or settings; one line
            that says which.
        """
        check_magic(handshake, "handshake")
        if handshake[:1] != first_byte(SESSION):
            raise BitstreamError(
                f"handshake: starts with {handshake[0]:02x}, expected "
                f"{first_byte(SESSION).hex()}: this is no handshake",
                0,
            )
        if len(handshake) != _HANDSHAKE_BYTES:
            raise BitstreamError(
                f"handshake: found {len(handshake)} bytes, expected "
                f"{_HANDSHAKE_BYTES}: send it again",
                min(len(handshake), _HANDSHAKE_BYTES),
            )
        check_same_model(handshake[1:3], self.model_hash, "session")
        own = self.handshake()
        for what, start in (("prior", 3), ("settings", 5)):
            end = start + _DIGEST_BYTES
            if handshake[start:end] != own[start:end]:
                raise BitstreamError(
                    f"session of other {what}: found digest "
                    f"{handshake[start:end].hex()}, expected "
                    f"{own[start:end].hex()}: use the same {what} on both "
                    "sides",
                    start,
                )

    def _settings_digest(self) -> bytes:
        framing = self.framing
        settings = f"{framing.merge} {framing.run_lengths} {self.checksum} "
        content = settings.encode() + self.ending.content()
        return hashlib.sha256(content).digest()[:_DIGEST_BYTES]

    def write(self, codes: np.ndarray, num_frames: int) -> bytes:
        """Code one utterance.

        Arguments
        ---------
        codes : np.ndarray
            Integers, shape (code frame, K).
        num_frames : int
            Frames at the cut, before merging.

        Returns
        -------
        bytes
            The payload, and the checksum, if there is one.

        Raises
        ------
        ConfigurationError
            If ``num_frames`` is out of range or not what the codes cover, or
            ``codes`` are not integers with K columns.
        BitstreamError
            If a code is not an entry of its codebook.
        """
        check_writable(num_frames, len(self.prior.cardinalities))
        frames = code_edges(codes, self.prior)
        self.framing.check(np.asarray(codes), num_frames)
        encoder = RangeEncoder(self.ending.interval())
        self.ending.start(encoder, len(frames))
        if self._partial:
            missing = len(frames) * self.framing.merge - num_frames
            bounds = uniform_edges(self.framing.merge)
            encoder.encode(*bounds[missing : missing + 2].tolist())
        for frame in frames.tolist():
            self.ending.frame(encoder, last=False)
            for left, right in frame:
                encoder.encode(left, right)
        self.ending.frame(encoder, last=True)
        payload = self.ending.finish(encoder)
        return payload + bytes([crc8(payload)]) if self.checksum else payload

    def read(self, message: bytes) -> Message:
        """Decode one message.

        Arguments
        ---------
        message : bytes
            What :meth:`write` gave on the other side.

        Returns
        -------
        Message
            Codes, frames at the cut and the size of the payload.

        Raises
        ------
        BitstreamError
            If the message is corrupted, not the one that the encoder gives
            for any codes, or has more frames than this side reads.
        """
        books = len(self.prior.cardinalities)
        longest = longest_message(books)
        most_frames = min(self.max_frames or longest, longest)
        # A symbol of the ending beside the codes of every frame.
        most_symbols = most_frames * (books + 1)
        check_size("payload", len(message), most_symbols, len(message))
        if self.checksum:
            check_crc(message, 0)
        payload = message[: len(message) - self.checksum]
        decoder = RangeDecoder(payload, interval=self.ending.interval())
        codes, num_frames = self._frames(decoder)
        self.ending.check(decoder)
        books = codes.shape[1] - self.framing.run_columns
        return Message(codes, num_frames, len(payload), books, books)

    def _frames(self, decoder: RangeDecoder) -> tuple[np.ndarray, int]:
        """All codes, and how many frames at the cut they cover."""
        ended = self.ending.reader(decoder)
        num_frames = 0
        if self._partial:
            num_frames -= decoder.decode(uniform_edges(self.framing.merge))
        tables = MessageTables(self.prior)
        books = tables.num_codebooks
        limit = FrameLimit(len(decoder.data), self.max_frames)
        most = min(limit.frames, longest_message(books))
        symbols, codes = SymbolDecoder(decoder, tables), array("q")
        while not ended():
            frame = symbols.frame()
            decoder.check_length()
            codes.extend(frame)
            num_frames += self.framing.covered(frame)
            if num_frames > most:
                place = decoder.place
                check_readable("payload", num_frames, books, place)
                limit.check("payload", num_frames, place)
        if num_frames < 0:
            raise decoder.error("less than no frame", "0 or more")
        # The same memory: a copy would double it.
        found = np.frombuffer(codes, dtype=np.int64)
        return found.reshape(-1, books), num_frames

    @property
    def _partial(self) -> bool:
        """Whether the last group of frames may be smaller than the others."""
        return self.framing.merge > 1 and not self.framing.run_lengths
