"""What every prior promises: integer probabilities of the next code."""

from abc import ABC, abstractmethod
from collections.abc import Iterable

import numpy as np

from speechbrain_acom.errors import BitstreamError, ConfigurationError

# What the tables of a prior sum to: the coder's own precision is 24 bits.
PRECISION_BITS = 24
TOTAL_FREQUENCY = 1 << PRECISION_BITS
# Codes are written into files and headers as 16-bit numbers.
LARGEST_CODEBOOK = 1 << 16


class Predictor(ABC):
    """The probabilities of one message's codes, one code after the other.

    Codebook k of a frame is predicted from what came before: the codes of
    codebooks 0..k of earlier frames, and codebooks 0..k-1 of the same frame.
    Finer codebooks are never looked at, so that a message of the first
    codebooks alone has the same probabilities, and so that a coder may go
    frame by frame as well as plane by plane (all frames of a codebook, then
    all of the next one).

    Both sides of the wire run the same predictor over the same codes. All it
    computes with are integers, or floats that hold integers exactly, so that
    two machines agree to the bit.
    """

    @abstractmethod
    def frequencies(self, codebook: int) -> np.ndarray:
        """Table of the next code of a codebook.

        Arguments
        ---------
        codebook : int
            k. The codes of the coarser codebooks must have been given for
            the frame that is next in k.

        Returns
        -------
        np.ndarray
            int64, shape (V_k,), each at least 1, their sum 2^24. Not to be
            written to.
        """

    @abstractmethod
    def update(self, codebook: int, entry: int) -> None:
        """Take note of the next code of a codebook.

        Arguments
        ---------
        codebook : int
            k.
        entry : int
            The code, from 0 to V_k - 1.
        """

    def constant_frequencies(self, codebook: int) -> np.ndarray | None:
        """The table of a codebook that is the same for all frames, if it is.

        A coder may then skip :meth:`frequencies` and :meth:`update` for this
        codebook, unless a finer one is coded.
        """
        return None

    def observe(self, codebook: int, entries: np.ndarray) -> np.ndarray:
        """Tables of several codes of a codebook that are all known.

        The same as :meth:`frequencies` and :meth:`update` for one after the
        other; an encoder calls this, and a predictor may have a faster way.

        Arguments
        ---------
        codebook : int
            k.
        entries : np.ndarray
            The next codes, integers, shape (frame,).

        Returns
        -------
        np.ndarray
            int64, shape (frame, V_k): the table that each was predicted from.
        """
        tables = []
        for entry in entries.tolist():
            tables.append(self.frequencies(codebook))
            self.update(codebook, entry)
        if not tables:
            return np.empty((0, 0), dtype=np.int64)
        return np.stack(tables)


class Prior(ABC):
    """Probabilities of codes that two machines share to the bit.

    Every entry of every codebook has a frequency of at least 1 in whatever
    context: no code is impossible.
    """

    # One byte that names the kind in files; see `priors.files`.
    KIND: int

    @property
    @abstractmethod
    def cardinalities(self) -> tuple[int, ...]:
        """Entries per codebook, coarse to fine: (V_1, ..., V_K)."""

    @abstractmethod
    def predictor(self) -> Predictor:
        """A predictor at the start of a message."""

    @abstractmethod
    def first(self, count: int) -> "Prior":
        """The prior of the first codes of every frame.

        Arguments
        ---------
        count : int
            From 1 to K.

        Returns
        -------
        Prior
            It gives the same tables; this prior itself for all K.

        Raises
        ------
        ConfigurationError
            If there is no such number of codebooks.
        """

    @abstractmethod
    def content(self) -> bytes:
        """Everything that defines this prior, as files hold it."""

    @classmethod
    @abstractmethod
    def from_content(cls, content: bytes) -> "Prior":
        """The prior of what :meth:`content` gave.

        Raises
        ------
        ValueError
            If the content makes no such prior: AcomError or any other.
        """

    def checked(self, codes: np.ndarray) -> np.ndarray:
        """Make sure that this prior can code these codes.

        Arguments
        ---------
        codes : np.ndarray
            Integers, shape (frame, K).

        Returns
        -------
        np.ndarray
            The same codes, int64, shape (frame, K).

        Raises
        ------
        ConfigurationError
            If this is not an array of integers with K columns.
        BitstreamError
            If a code is not an entry of its codebook.
        """
        return checked_codes(codes, self.cardinalities)

    def bits(self, codes: np.ndarray) -> float:
        """Ideal size of one message: the sum of -log2 of its probabilities.

        Arguments
        ---------
        codes : np.ndarray
            Integers, shape (frame, K).

        Returns
        -------
        float
            Bits, for all frames and codebooks together.

        Raises
        ------
        ConfigurationError
            If this is not an array of integers with K columns.
        BitstreamError
            If a code is not an entry of its codebook.
        """
        codes = self.checked(codes)
        predictor = self.predictor()
        total = 0.0
        for codebook, size in enumerate(self.cardinalities):
            # Tables of a few frames at a time: V may be large.
            for block in blocks(codes[:, codebook], size):
                tables = predictor.observe(codebook, block)
                chosen = tables[np.arange(len(block)), block]
                total += float((PRECISION_BITS - np.log2(chosen)).sum())
        return total


def blocks(entries: np.ndarray, size: int) -> Iterable[np.ndarray]:
    """Codes of a codebook in pieces whose tables fit half a mebibyte.

    Arguments
    ---------
    entries : np.ndarray
        Shape (frame,).
    size : int
        V.

    Returns
    -------
    Iterable[np.ndarray]
        Consecutive pieces, none of them empty.
    """
    length = max(1, LARGEST_CODEBOOK // size)
    for start in range(0, len(entries), length):
        yield entries[start : start + length]


def checked_cardinalities(cardinalities: Iterable[int]) -> tuple[int, ...]:
    """Entries per codebook, each of which fits the coder.

    Raises
    ------
    ConfigurationError
        If there is none, or one is not from 1 to 2^16.
    """
    checked = tuple(int(entries) for entries in cardinalities)
    if not checked:
        raise ConfigurationError("num_codebooks", 0, "at least 1")
    for entries in checked:
        if not 1 <= entries <= LARGEST_CODEBOOK:
            raise ConfigurationError(
                "codebook_size",
                entries,
                f"1 to {LARGEST_CODEBOOK} entries, which is what a table of "
                "the coder can hold",
            )
    return checked


def checked_codes(
    codes: np.ndarray, cardinalities: tuple[int, ...]
) -> np.ndarray:
    """Codes as int64 (frame, K), if each is an entry of its codebook."""
    codes = np.asarray(codes)
    if codes.dtype.kind not in "iu" or codes.ndim != 2:
        raise ConfigurationError(
            "codes",
            f"{codes.dtype} of shape {codes.shape}",
            "integers of shape (frame, K)",
        )
    if codes.shape[1] != len(cardinalities):
        raise ConfigurationError(
            "num_codebooks",
            codes.shape[1],
            f"{len(cardinalities)}, as many as the prior was fitted for",
        )
    codes = codes.astype(np.int64)
    wrong = np.argwhere((codes < 0) | (codes >= np.array(cardinalities)))
    if len(wrong):
        frame, codebook = wrong[0].tolist()
        raise BitstreamError(
            f"codes: found {codes[frame, codebook]} in frame {frame}, codebook "
            f"{codebook}, expected 0 to {cardinalities[codebook] - 1}: "
            "use the prior that was fitted with this quantizer"
        )
    return codes


def check_count(count: int, total: int) -> None:
    """Raise ConfigurationError unless a prior has that many codebooks."""
    if not 1 <= count <= total:
        raise ConfigurationError(
            "num_codebooks",
            count,
            f"1 to {total}, as many as the prior was fitted for",
        )
