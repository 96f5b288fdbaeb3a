"""Range coder: codes to the shortest bytes that decode again, and back.

Codes go in plane by plane, coarse to fine: all frames of codebook 0, then all
of codebook 1. What no context changes is coded by constriction in one call a
plane; with other priors each code waits for the one before. Both give the
same bytes.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator

import numpy as np
from constriction import stream

from speechbrain_acom.entropy.framing import ONE_TO_ONE, Framing
from speechbrain_acom.entropy.interval import (
    STATE_BITS,
    WORD_BYTES,
    Interval,
    RangeDecoder,
    RangeEncoder,
    number_bytes,
)
from speechbrain_acom.entropy.priors.contract import TOTAL_FREQUENCY, Prior
from speechbrain_acom.entropy.symbols import (
    MessageTables,
    SymbolDecoder,
    code_edges,
    constant_tables,
)
from speechbrain_acom.errors import BitstreamError

# Codes that are decoded before the length is looked at.
_BLOCK = 4096


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
    planes = plane_decoder(decoder, prior)
    columns = list(planes.columns(num_frames, framing))
    check_shortest(decoder, decoder.shortest())
    return np.stack(columns, axis=1)


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
    columns = []
    try:
        for column in plane_decoder(decoder, prior).columns(
            num_frames, framing
        ):
            if not decoder.certain:
                raise decoder.error("which end too early", "more of them")
            columns.append(column)
    except BitstreamError:
        # Behind a cut there are bytes that no codes give, too.
        if len(columns) <= framing.run_columns:
            raise
    else:
        check_shortest(decoder, decoder.shortest(complete=True))
    return np.stack(columns, axis=1)


def check_shortest(decoder: RangeDecoder, shortest: bytes) -> None:
    """Raise BitstreamError unless the payload is the one of its codes."""
    if bytes(decoder.data) != shortest:
        raise decoder.error(
            "more or others than the shortest",
            f"the {len(shortest)} bytes that its codes give",
        )


class PlaneDecoder(ABC):
    """Decodes the planes of one payload, coarse to fine.

    Arguments
    ---------
    decoder : RangeDecoder
        The payload. Its interval is that of the codes so far.
    num_codebooks : int
        K.
    """

    def __init__(self, decoder: RangeDecoder, num_codebooks: int) -> None:
        self.decoder = decoder
        self._num_codebooks = num_codebooks

    @abstractmethod
    def plane(self, codebook: int, count: int) -> np.ndarray:
        """The next codes of a codebook.

        Arguments
        ---------
        codebook : int
            k.
        count : int
            How many.

        Returns
        -------
        np.ndarray
            int64, shape (count,).

        Raises
        ------
        BitstreamError
            If no codes give this payload, or these are worth more than it.
        """

    def columns(
        self, num_frames: int, framing: Framing
    ) -> Iterator[np.ndarray]:
        """All planes, one after the other.

        Arguments
        ---------
        num_frames : int
            Frames at the cut that the codes cover.
        framing : Framing
            Frames at the cut that each frame of codes covers.

        Returns
        -------
        Iterator[np.ndarray]
            K arrays, int64, shape (code frame,); the first one may be of run
            lengths.

        Raises
        ------
        BitstreamError
            As for :meth:`plane`, or if the last run ends after the last
            frame.
        """
        if framing.run_lengths:
            first = self._runs(num_frames, framing)
        else:
            first = self.plane(0, framing.most_code_frames(num_frames))
        yield first
        for codebook in range(1, self._num_codebooks):
            yield self.plane(codebook, len(first))

    def _runs(self, num_frames: int, framing: Framing) -> np.ndarray:
        runs, left = [], num_frames
        # A run covers at least one frame, so this ends.
        while left > 0:
            runs.append(int(self.plane(0, 1)[0]))
            left -= framing.covered(runs[-1:])
        check_runs(left, num_frames, self.decoder)
        return np.array(runs, dtype=np.int64)


def check_runs(left: int, num_frames: int, decoder: RangeDecoder) -> None:
    """Raise BitstreamError if runs end after the last frame."""
    if left < 0:
        raise BitstreamError(
            f"payload: found runs of {num_frames - left} frames, expected "
            f"{num_frames}: forged, for no encoder writes this",
            decoder.first_byte,
        )


def plane_decoder(decoder: RangeDecoder, prior: Prior) -> PlaneDecoder:
    """The fastest decoder of a prior's planes."""
    tables = constant_tables(prior)
    if tables is None:
        return SteppedPlanes(decoder, prior)
    return ConstantPlanes(decoder, tables)


class SteppedPlanes(PlaneDecoder):
    """Planes of any prior, one code at a time.

    Arguments
    ---------
    decoder : RangeDecoder
        The payload.
    prior : Prior
        Probabilities.
    """

    def __init__(self, decoder: RangeDecoder, prior: Prior) -> None:
        super().__init__(decoder, len(prior.cardinalities))
        self._symbols = SymbolDecoder(decoder, MessageTables(prior))

    def plane(self, codebook: int, count: int) -> np.ndarray:
        """The next codes of a codebook, int64, shape (count,)."""
        entries = np.empty(count, dtype=np.int64)
        for index in range(count):
            entries[index] = self._symbols.entry(codebook)
            self.decoder.check_length()
        return entries


class ConstantPlanes(PlaneDecoder):
    """Planes of tables that never change, many codes at a time.

    Arguments
    ---------
    decoder : RangeDecoder
        The payload.
    tables : list[np.ndarray]
        K arrays, int64, shape (V_k,), that sum to 2^24.
    """

    def __init__(self, decoder: RangeDecoder, tables: list[np.ndarray]) -> None:
        super().__init__(decoder, len(tables))
        payload = decoder.data + bytes(-len(decoder.data) % WORD_BYTES)
        # Behind its last word the library reads zeros, as many as it needs.
        words = np.frombuffer(payload, ">u4").astype(np.uint32)
        self._source = stream.queue.RangeDecoder(words)
        # Its decoder does not tell its interval; an encoder of the same does.
        self._mirror = stream.queue.RangeEncoder()
        self._models = [constant_model(table) for table in tables]

    def plane(self, codebook: int, count: int) -> np.ndarray:
        """The next codes of a codebook, int64, shape (count,)."""
        entries = np.zeros(count, dtype=np.int64)
        model = self._models[codebook]
        if model is None:
            return entries
        for start in range(0, count, _BLOCK):
            length = min(_BLOCK, count - start)
            try:
                block = self._source.decode(model, length)
            except AssertionError as error:
                raise self.decoder.error(
                    "which no codes give", "a payload of this prior"
                ) from error
            self._mirror.encode(block, model)
            _take_interval(self.decoder.interval, self._mirror)
            self.decoder.check_length()
            entries[start : start + length] = block
        return entries


def constant_model(table: np.ndarray) -> stream.model.Categorical | None:
    """The library's model of a table; None, if there is one entry."""
    if len(table) == 1:
        return None
    # The quotients are exact. perfect=False leaves the library no logarithm
    # to round. Strided arrays it would silently misread.
    probabilities = np.ascontiguousarray(table / TOTAL_FREQUENCY)
    return stream.model.Categorical(probabilities, perfect=False)


def _take_interval(
    interval: Interval, encoder: stream.queue.RangeEncoder
) -> None:
    interval.words, (interval.lower, interval.size) = encoder.pos()


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
    _take_interval(interval, encoder)
    # The library's own words are one number of the interval. The distance to
    # its lower end is below 2^64: right whatever carry is still to come.
    words = encoder.get_compressed().astype(">u4").tobytes()
    inside = int.from_bytes(words.ljust(interval.num_bytes, b"\0"), "big")
    lower = inside - (inside - interval.lower) % (1 << STATE_BITS)
    return number_bytes(interval, lower, complete)
