"""Between priors and the range coder: codes as edges, edges as codes."""

import numpy as np

from speechbrain_acom.entropy.interval import RangeDecoder, edges
from speechbrain_acom.entropy.priors.contract import (
    TOTAL_FREQUENCY,
    Prior,
    blocks,
)

# The table of a codebook of one entry: it costs nothing.
_CERTAIN = np.array([0, TOTAL_FREQUENCY])


def constant_tables(prior: Prior) -> list[np.ndarray] | None:
    """Frequencies of every codebook, if no context changes any of them.

    Arguments
    ---------
    prior : Prior
        The prior.

    Returns
    -------
    list[np.ndarray] | None
        K arrays, int64, shape (V_k,).
    """
    predictor = prior.predictor()
    tables = []
    for codebook, size in enumerate(prior.cardinalities):
        table = predictor.constant_frequencies(codebook)
        if table is None and size > 1:
            return None
        tables.append(np.array([TOTAL_FREQUENCY]) if table is None else table)
    return tables


def code_edges(codes: np.ndarray, prior: Prior) -> np.ndarray:
    """The edges that a prior gives to the codes of one message.

    Arguments
    ---------
    codes : np.ndarray
        Integers, shape (frame, K).
    prior : Prior
        Probabilities.

    Returns
    -------
    np.ndarray
        int64, shape (frame, K, 2): left and right edge of every code.

    Raises
    ------
    ConfigurationError
        If this is not an array of integers with K columns.
    BitstreamError
        If a code is not an entry of its codebook.
    """
    codes = prior.checked(codes)
    predictor = prior.predictor()
    found = np.empty((*codes.shape, 2), dtype=np.int64)
    for codebook, size in enumerate(prior.cardinalities):
        start = 0
        for block in blocks(codes[:, codebook], size):
            tables = edges(predictor.observe(codebook, block))
            both = block[:, np.newaxis] + [0, 1]
            stop = start + len(block)
            found[start:stop, codebook] = np.take_along_axis(tables, both, 1)
            start = stop
    return found


class MessageTables:
    """The edges of one message's codes, one code after the other.

    Arguments
    ---------
    prior : Prior
        Probabilities.
    """

    def __init__(self, prior: Prior) -> None:
        self.num_codebooks = len(prior.cardinalities)
        self._predictor = prior.predictor()
        self._constant = [
            self._constant_edges(codebook, size)
            for codebook, size in enumerate(prior.cardinalities)
        ]

    def edges(self, codebook: int) -> np.ndarray:
        """Edges of the next code of a codebook, int64, shape (V_k + 1,)."""
        constant = self._constant[codebook]
        if constant is not None:
            return constant
        return edges(self._predictor.frequencies(codebook))

    def update(self, codebook: int, entry: int) -> None:
        """Take note of the next code of a codebook."""
        self._predictor.update(codebook, entry)

    def _constant_edges(self, codebook: int, size: int) -> np.ndarray | None:
        """Edges of a codebook, if no context changes them."""
        if size == 1:
            return _CERTAIN
        table = self._predictor.constant_frequencies(codebook)
        return None if table is None else edges(table)


class SymbolDecoder:
    """Decodes the codes of one message, one after the other.

    Arguments
    ---------
    decoder : RangeDecoder
        The bytes.
    tables : MessageTables
        The edges; they see every code.
    """

    def __init__(self, decoder: RangeDecoder, tables: MessageTables) -> None:
        self._decoder = decoder
        self._tables = tables

    def entry(self, codebook: int) -> int:
        """The next code of a codebook.

        Arguments
        ---------
        codebook : int
            k. Codes may come frame by frame or plane by plane.

        Returns
        -------
        int
            The code.

        Raises
        ------
        BitstreamError
            If no code whatever leads to these bytes.
        """
        entry = self._decoder.decode(self._tables.edges(codebook))
        self._tables.update(codebook, entry)
        return entry

    def certain_entry(self, codebook: int) -> int | None:
        """The next code, or None if bytes to come may still change it."""
        entry = self._decoder.decode_certain(self._tables.edges(codebook))
        if entry is not None:
            self._tables.update(codebook, entry)
        return entry

    def frame(self) -> list[int]:
        """The next code of every codebook."""
        return [self.entry(k) for k in range(self._tables.num_codebooks)]
