"""Coders that the entropy benchmark compares: ours, and simpler ones.

Each turns the codes of one utterance into bytes and back. What it has learned
from training codes goes through a file, so that another process can decode.
"""

import lzma
import zlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from constriction import symbol

from speechbrain_acom.entropy import coder
from speechbrain_acom.entropy.priors import Prior, load_prior, save_prior


class CodeCoder(ABC):
    """Codes of one utterance to bytes, and back."""

    @abstractmethod
    def encode(self, codes: np.ndarray) -> bytes:
        """Payload of codes, integers, shape (frame, K)."""

    @abstractmethod
    def decode(self, payload: bytes, num_frames: int) -> np.ndarray:
        """Codes, integers, shape (num_frames, K), of a payload."""

    @abstractmethod
    def bits(self, codes: np.ndarray) -> float | None:
        """Ideal size of a payload; None where there are no probabilities."""

    @abstractmethod
    def save(self, path: Path) -> None:
        """Write all that decoding needs into one file."""

    @classmethod
    @abstractmethod
    def load(cls, path: Path) -> "CodeCoder":
        """The coder that :meth:`save` wrote."""


class PriorCoder(CodeCoder):
    """Our range coder with one of our priors.

    Arguments
    ---------
    prior : Prior
        Any prior.
    """

    def __init__(self, prior: Prior) -> None:
        self.prior = prior

    def encode(self, codes: np.ndarray) -> bytes:
        """Payload of codes, integers, shape (frame, K)."""
        return coder.encode(codes, self.prior)

    def decode(self, payload: bytes, num_frames: int) -> np.ndarray:
        """Codes, integers, shape (num_frames, K), of a payload."""
        return coder.decode(payload, num_frames, self.prior)

    def bits(self, codes: np.ndarray) -> float:
        """Cross-entropy under the prior."""
        return self.prior.bits(codes)

    def save(self, path: Path) -> None:
        """Write the prior's file."""
        save_prior(self.prior, path)

    @classmethod
    def load(cls, path: Path) -> "PriorCoder":
        """Read the prior's file."""
        return cls(load_prior(path))


class FixedCoder(CodeCoder):
    """Every code in as many bits as its codebook needs, plane by plane.

    Arguments
    ---------
    cardinalities : Sequence[int]
        Entries per codebook.
    unit : int
        Bits of a code are a multiple of this: 1, or 8 for whole bytes.

    Example
    -------
    >>> coder = FixedCoder((4, 8))
    >>> coder.encode(np.array([[1, 7], [2, 0], [3, 5]])).hex()
    '6f8a'
    >>> coder.decode(bytes.fromhex("6f8a"), 3).tolist()
    [[1, 7], [2, 0], [3, 5]]
    """

    def __init__(self, cardinalities: Sequence[int], unit: int = 1) -> None:
        self.cardinalities = tuple(cardinalities)
        self.unit = unit
        exact = [(size - 1).bit_length() for size in self.cardinalities]
        self.widths = [-(-bits // unit) * unit for bits in exact]

    def encode(self, codes: np.ndarray) -> bytes:
        """Payload of codes, integers, shape (frame, K)."""
        planes = [
            (column[:, np.newaxis] >> np.arange(width)[::-1] & 1).ravel()
            for column, width in zip(codes.T, self.widths, strict=True)
        ]
        return np.packbits(np.concatenate(planes).astype(np.uint8)).tobytes()

    def decode(self, payload: bytes, num_frames: int) -> np.ndarray:
        """Codes, integers, shape (num_frames, K), of a payload."""
        bits = np.unpackbits(np.frombuffer(payload, np.uint8)).astype(np.int64)
        ends = np.cumsum([0, *(num_frames * width for width in self.widths)])
        columns = [
            bits[start:end].reshape(num_frames, width)
            @ (1 << np.arange(width)[::-1])
            for (start, end), width in zip(
                pairwise(ends), self.widths, strict=True
            )
        ]
        return np.stack(columns, axis=1)

    def bits(self, codes: np.ndarray) -> float:
        """Bits before the last byte is filled up."""
        return float(len(codes) * sum(self.widths))

    def save(self, path: Path) -> None:
        """Write the numbers of entries."""
        _save(path, cardinalities=self.cardinalities, unit=self.unit)

    @classmethod
    def load(cls, path: Path) -> "FixedCoder":
        """Read what :meth:`save` wrote."""
        stored = np.load(path)
        return cls(stored["cardinalities"].tolist(), int(stored["unit"]))


class HuffmanCoder(CodeCoder):
    """A static Huffman code per codebook, each filled up to whole bytes.

    Half a count is added to every entry, so that those that training never
    saw have a code, too.

    Arguments
    ---------
    weights : Sequence[np.ndarray]
        K arrays, shape (V_k,): how often each entry is expected.

    Example
    -------
    >>> coder = HuffmanCoder([np.array([8.0, 4.0, 2.0, 1.0])])
    >>> coder.lengths[0].tolist()
    [1, 2, 3, 3]
    """

    def __init__(self, weights: Sequence[np.ndarray]) -> None:
        self.weights = [np.asarray(each, dtype=np.float64) for each in weights]
        trees = symbol.huffman
        self._encoders = list(map(trees.EncoderHuffmanTree, self.weights))
        self._decoders = list(map(trees.DecoderHuffmanTree, self.weights))
        self.lengths = [
            np.array([_huffman([entry], tree)[1] for entry in range(len(each))])
            for each, tree in zip(self.weights, self._encoders, strict=True)
        ]

    @classmethod
    def fit(
        cls, codes: Sequence[np.ndarray], cardinalities: Sequence[int]
    ) -> "HuffmanCoder":
        """Count training codes.

        Arguments
        ---------
        codes : Sequence[np.ndarray]
            Integers, each of shape (frame, K).
        cardinalities : Sequence[int]
            Entries per codebook.

        Returns
        -------
        HuffmanCoder
            The coder.
        """
        joined = np.concatenate(list(codes))
        return cls(
            [
                np.bincount(column, minlength=size) + 0.5
                for column, size in zip(joined.T, cardinalities, strict=True)
            ]
        )

    def encode(self, codes: np.ndarray) -> bytes:
        """Payload of codes, integers, shape (frame, K)."""
        payload = b""
        for column, tree in zip(codes.T, self._encoders, strict=True):
            words, bits = _huffman(column.tolist(), tree)
            # The first bit of the code is the lowest of the first word.
            payload += words.astype("<u4").tobytes()[: -(-bits // 8)]
        return payload

    def decode(self, payload: bytes, num_frames: int) -> np.ndarray:
        """Codes, integers, shape (num_frames, K), of a payload."""
        columns = []
        for lengths, tree in zip(self.lengths, self._decoders, strict=True):
            padded = payload + bytes(-len(payload) % 4)
            words = np.frombuffer(padded, "<u4").astype(np.uint32)
            decoder = symbol.QueueDecoder(words)
            entries = [decoder.decode_symbol(tree) for _ in range(num_frames)]
            column = np.array(entries, dtype=np.int64)
            columns.append(column)
            payload = payload[-(-int(lengths[column].sum()) // 8) :]
        return np.stack(columns, axis=1)

    def bits(self, codes: np.ndarray) -> float:
        """Bits before bytes are filled up."""
        planes = zip(codes.T, self.lengths, strict=True)
        return float(sum(lengths[column].sum() for column, lengths in planes))

    def save(self, path: Path) -> None:
        """Write the weights, from which the same trees follow."""
        _save(path, *self.weights)

    @classmethod
    def load(cls, path: Path) -> "HuffmanCoder":
        """Read what :meth:`save` wrote."""
        stored = np.load(path)
        return cls([stored[f"arr_{book}"] for book in range(len(stored))])


class ArchiveCoder(CodeCoder):
    """A general compressor over codes of a fixed length.

    Arguments
    ---------
    method : str
        "zlib" (level 9) or "xz" (preset 9, extreme).
    packing : FixedCoder
        Lays the codes out for it.
    """

    def __init__(self, method: str, packing: FixedCoder) -> None:
        self.method = method
        self.packing = packing

    @classmethod
    def fit(
        cls,
        method: str,
        codes: Sequence[np.ndarray],
        cardinalities: Sequence[int],
    ) -> "ArchiveCoder":
        """Choose the layout that makes the training codes smaller.

        Packed to the bit, codes are shorter to begin with; in whole bytes,
        the compressor sees where each begins.
        """
        joined = np.concatenate(list(codes))
        layouts = [
            cls(method, FixedCoder(cardinalities, unit)) for unit in (1, 8)
        ]
        return min(layouts, key=lambda one: len(one.encode(joined)))

    def encode(self, codes: np.ndarray) -> bytes:
        """Payload of codes, integers, shape (frame, K)."""
        packed = self.packing.encode(codes)
        if self.method == "zlib":
            return zlib.compress(packed, level=9)
        return lzma.compress(packed, preset=9 | lzma.PRESET_EXTREME)

    def decode(self, payload: bytes, num_frames: int) -> np.ndarray:
        """Codes, integers, shape (num_frames, K), of a payload."""
        module = zlib if self.method == "zlib" else lzma
        return self.packing.decode(module.decompress(payload), num_frames)

    def bits(self, codes: np.ndarray) -> None:
        """None: there are no probabilities."""

    def save(self, path: Path) -> None:
        """Write the method and the layout."""
        packing = self.packing
        _save(
            path,
            method=self.method,
            cardinalities=packing.cardinalities,
            unit=packing.unit,
        )

    @classmethod
    def load(cls, path: Path) -> "ArchiveCoder":
        """Read what :meth:`save` wrote."""
        return cls(str(np.load(path)["method"]), FixedCoder.load(path))


def _huffman(
    entries: Sequence[int], tree: symbol.huffman.EncoderHuffmanTree
) -> tuple[np.ndarray, int]:
    """Words and number of bits of entries."""
    encoder = symbol.QueueEncoder()
    for entry in entries:
        encoder.encode_symbol(entry, tree)
    return encoder.get_compressed_and_bitrate()


def _save(path: Path, *arrays: np.ndarray, **named: object) -> None:
    # np.savez adds a suffix to a path, but not to an open file.
    with open(path, "wb") as file:
        np.savez(file, *arrays, **named)
