"""Decoders of payloads whose codes stand plane by plane, coarse to fine."""

from abc import ABC, abstractmethod
from array import array
from collections.abc import Iterator

import numpy as np
from constriction import stream

from speechbrain_acom.entropy.framing import Framing
from speechbrain_acom.entropy.interval import (
    WORD_BYTES,
    Interval,
    RangeDecoder,
)
from speechbrain_acom.entropy.priors.contract import TOTAL_FREQUENCY, Prior
from speechbrain_acom.entropy.symbols import (
    MessageTables,
    SymbolDecoder,
    constant_tables,
)
from speechbrain_acom.errors import BitstreamError

# Codes that are decoded before the length is looked at.
_BLOCK = 4096


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
    def blocks(self, codebook: int, count: int) -> Iterator[np.ndarray]:
        """The next codes of a codebook, a piece at a time.

        Arguments
        ---------
        codebook : int
            k.
        count : int
            How many.

        Returns
        -------
        Iterator[np.ndarray]
            Pieces of at most 4096 codes, int32, shape (code,).

        Raises
        ------
        BitstreamError
            If no codes give this payload, or these are worth more than it.
        """

    def decoded(
        self, num_frames: int, framing: Framing
    ) -> Iterator[np.ndarray]:
        """All codes, plane by plane.

        What a forged number of frames makes this allocate is bounded by the
        codes of the first plane that the payload gave.

        Arguments
        ---------
        num_frames : int
            Frames at the cut that the codes cover.
        framing : Framing
            Frames at the cut that each frame of codes covers.

        Returns
        -------
        Iterator[np.ndarray]
            K times the same array, int64, shape (code frame, K): each time
            one more of its columns is filled. The first one may be of run
            lengths.

        Raises
        ------
        BitstreamError
            As for :meth:`blocks`, or if the last run ends after the last
            frame.
        """
        first = self._first(num_frames, framing)
        codes = np.empty((len(first), self._num_codebooks), dtype=np.int64)
        codes[:, 0] = first
        del first
        yield codes
        for codebook in range(1, self._num_codebooks):
            start = 0
            for block in self.blocks(codebook, len(codes)):
                codes[start : start + len(block), codebook] = block
                start += len(block)
            yield codes

    def _first(self, num_frames: int, framing: Framing) -> np.ndarray:
        """The first plane, int32, shape (code frame,)."""
        if framing.run_lengths:
            return self._runs(num_frames, framing)
        count = framing.most_code_frames(num_frames)
        none = np.empty(0, dtype=np.int32)
        return np.concatenate([none, *self.blocks(0, count)])

    def _runs(self, num_frames: int, framing: Framing) -> np.ndarray:
        runs, left = array("i"), num_frames
        # A run covers at least one frame, so this ends.
        while left > 0:
            [block] = self.blocks(0, 1)
            runs.append(int(block[0]))
            left -= framing.covered(runs[-1:])
        check_runs(left, num_frames, self.decoder)
        return np.frombuffer(runs, dtype=np.int32)


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

    def blocks(self, codebook: int, count: int) -> Iterator[np.ndarray]:
        """The next codes of a codebook, int32, a piece at a time."""
        for length in _lengths(count):
            entries = np.empty(length, dtype=np.int32)
            for index in range(length):
                entries[index] = self._symbols.entry(codebook)
                self.decoder.check_length()
            yield entries


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

    def blocks(self, codebook: int, count: int) -> Iterator[np.ndarray]:
        """The next codes of a codebook, int32, a piece at a time."""
        model = self._models[codebook]
        for length in _lengths(count):
            if model is None:
                yield np.zeros(length, dtype=np.int32)
            else:
                yield self._block(model, length)

    def _block(
        self, model: stream.model.Categorical, length: int
    ) -> np.ndarray:
        try:
            block = self._source.decode(model, length)
        except AssertionError as error:
            raise self.decoder.error(
                "which no codes give", "a payload of this prior"
            ) from error
        self._mirror.encode(block, model)
        take_interval(self.decoder.interval, self._mirror)
        self.decoder.check_length()
        return block


def _lengths(count: int) -> Iterator[int]:
    """Lengths of blocks that make up so many codes."""
    for start in range(0, count, _BLOCK):
        yield min(_BLOCK, count - start)


def constant_model(table: np.ndarray) -> stream.model.Categorical | None:
    """The library's model of a table; None, if there is one entry."""
    if len(table) == 1:
        return None
    # The quotients are exact. perfect=False leaves the library no logarithm
    # to round. Strided arrays it would silently misread.
    probabilities = np.ascontiguousarray(table / TOTAL_FREQUENCY)
    return stream.model.Categorical(probabilities, perfect=False)


def take_interval(
    interval: Interval, encoder: stream.queue.RangeEncoder
) -> None:
    """Give an interval what the library has narrowed its own to."""
    interval.words, (interval.lower, interval.size) = encoder.pos()
