"""A float transformer as the prior of codes: a peer to compare ours with.

**Its bytes are not portable.** Float arithmetic rounds otherwise on another
machine, library version or number of threads, and one different rounding
makes all codes after it wrong. It decodes here because both processes of the
benchmark run on the same machine, in one thread.
"""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from code_coders import PriorCoder
from frame_transformer import NO_FRAME, Cache, FrameTransformer
from torch import Tensor

from speechbrain_acom.entropy.priors.contract import (
    Predictor,
    Prior,
    check_count,
)
from speechbrain_acom.entropy.priors.integers import scaled

# Float probabilities become integers of so many bits, then the coder's.
WEIGHT_BITS = 30


class TransformerPrior(Prior):
    """A trained transformer as a prior; see this file's warning.

    The K codes of a frame follow each other as codes of a single codebook:
    the transformer cannot go plane by plane, since each code is predicted
    from all codes of the earlier frames.

    Arguments
    ---------
    model : FrameTransformer
        The trained model.
    """

    KIND = 255

    def __init__(self, model: FrameTransformer) -> None:
        self.model = model.eval()

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """Of the one codebook: the largest V."""
        return (max(self.model.cardinalities),)

    def predictor(self) -> "TransformerPredictor":
        """A predictor at the start of a message."""
        return TransformerPredictor(self.model)

    def first(self, count: int) -> "TransformerPrior":
        """Itself: there is one codebook."""
        check_count(count, 1)
        return self

    def content(self) -> bytes:
        """Sizes and weights."""
        model = self.model
        stored = io.BytesIO()
        torch.save(
            {
                "cardinalities": model.cardinalities,
                "width": model.width,
                "hidden": model.hidden,
                "tied": model.tied,
                "weights": model.state_dict(),
            },
            stored,
        )
        return stored.getvalue()

    @classmethod
    def from_content(cls, content: bytes) -> "TransformerPrior":
        """The prior of what :meth:`content` gave."""
        stored = torch.load(io.BytesIO(content), weights_only=True)
        weights = stored.pop("weights")
        model = FrameTransformer(**stored)
        model.load_state_dict(weights)
        return cls(model)


class TransformerPredictor(Predictor):
    """Runs the transformer a frame at a time, in coder and decoder alike.

    Arguments
    ---------
    model : FrameTransformer
        In evaluation mode.
    """

    def __init__(self, model: FrameTransformer) -> None:
        self._model = model
        self._frame: list[int] = []
        self._past: Cache | None = None
        self._follow([NO_FRAME] * len(model.cardinalities))

    def frequencies(self, codebook: int) -> np.ndarray:
        """Table of the next code, int64, shape (largest V,)."""
        return self._table

    def update(self, codebook: int, entry: int) -> None:
        """Take note of a code; the last one of a frame asks for the next."""
        self._frame.append(entry)
        if len(self._frame) == len(self._model.cardinalities):
            self._follow(self._frame)
        else:
            self._predict()

    @torch.inference_mode()
    def _follow(self, frame: Sequence[int]) -> None:
        read = torch.tensor(frame).view(1, 1, -1)
        states, self._past = self._model.states(read, self._past)
        self._state, self._frame = states[0, 0], []
        self._predict()

    @torch.inference_mode()
    def _predict(self) -> None:
        coarser = torch.tensor(self._frame, dtype=torch.int64)
        logits = self._model.logits(self._state, coarser)
        self._table = float_table(logits, max(self._model.cardinalities))


def float_table(logits: Tensor, size: int) -> np.ndarray:
    """Round probabilities to the integers of our coder.

    Arguments
    ---------
    logits : Tensor
        Natural logarithms, not normalised, shape (V,).
    size : int
        Entries of the table, V or more; those behind V are as good as
        impossible.

    Returns
    -------
    np.ndarray
        int64, shape (size,), each at least 1, their sum 2^24.
    """
    weights = logits.double().softmax(-1).numpy() * (1 << WEIGHT_BITS)
    return scaled(np.pad(weights, (0, size - len(weights))))


class TransformerCoder(PriorCoder):
    """Our range coder with the transformer.

    Arguments
    ---------
    prior : TransformerPrior
        The trained one.
    """

    def encode(self, codes: np.ndarray) -> bytes:
        """Payload of codes, integers, shape (frame, K)."""
        return super().encode(codes.reshape(-1, 1))

    def decode(self, payload: bytes, num_frames: int) -> np.ndarray:
        """Codes, integers, shape (num_frames, K), of a payload."""
        books = len(self.prior.model.cardinalities)
        codes = super().decode(payload, num_frames * books)
        return codes.reshape(num_frames, books)

    def bits(self, codes: np.ndarray) -> float:
        """Cross-entropy under the rounded probabilities."""
        return super().bits(codes.reshape(-1, 1))

    def save(self, path: Path) -> None:
        """Write sizes and weights."""
        path.write_bytes(self.prior.content())

    @classmethod
    def load(cls, path: Path) -> "TransformerCoder":
        """Read what :meth:`save` wrote."""
        return cls(TransformerPrior.from_content(path.read_bytes()))
