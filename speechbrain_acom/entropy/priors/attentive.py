"""Neural prior that looks back: the context network with attention."""

from collections.abc import Sequence

import numpy as np

from speechbrain_acom.context import Context
from speechbrain_acom.entropy.priors.attention import (
    AttentionMemory,
    AttentionShape,
    CodebookAttention,
)
from speechbrain_acom.entropy.priors.context_network import (
    CodebookNetwork,
)
from speechbrain_acom.entropy.priors.fixed_point import LARGEST_ACTIVATION
from speechbrain_acom.entropy.priors.kernels import (
    ATTENDED,
    attended,
    compiled,
)
from speechbrain_acom.entropy.priors.layer_files import (
    LayerReader,
    layer_content,
)
from speechbrain_acom.entropy.priors.neural import (
    NeuralPredictor,
    NeuralPrior,
)
from speechbrain_acom.errors import ConfigurationError


class AttentiveNeuralPrior(NeuralPrior):
    """A :class:`NeuralPrior` whose codebooks also look back by attention.

    What attention gives of a frame goes into the codebook's first layer,
    behind its other inputs. Queries and keys are made of the last frames'
    embeddings, which the first layer sees too, and of the coarser codes of
    the same frame; values of the embedding of a frame's own code.

    The function ``fit_neural_prior`` of ``speechbrain_acom.training`` trains
    and freezes one.

    Arguments
    ---------
    attentions : Sequence[CodebookAttention]
        Of each codebook, all of one shape.
    context : Context
        Which frames are seen.
    embedding_bits : int
        Fraction bits of the embeddings, and of what attention gives.
    embeddings : Sequence[np.ndarray]
        As for :class:`NeuralPrior`.
    networks : Sequence[CodebookNetwork]
        The layers of each codebook.

    Raises
    ------
    ConfigurationError
        If shapes disagree, or if a sum could be too large to be exact.
    """

    KIND = 4

    def __init__(
        self,
        attentions: Sequence[CodebookAttention],
        context: Context,
        embedding_bits: int,
        embeddings: Sequence[np.ndarray],
        networks: Sequence[CodebookNetwork],
    ) -> None:
        self.attentions = tuple(attentions)
        super().__init__(context, embedding_bits, embeddings, networks)
        # Of all entries, (V_k, width), before there is a message: in single
        # precision, in which what saturates at 2^20 is exact.
        self.values = tuple(
            attention.valued(table[:-1]).astype(np.float32)
            for attention, table in zip(
                self.attentions, self.embeddings, strict=True
            )
        )
        compiled(attended, ATTENDED)

    @property
    def parameters(self) -> int:
        """Numbers that were trained: embeddings, weights and biases."""
        return super().parameters + sum(each.size for each in self.attentions)

    def predictor(self) -> "AttentivePredictor":
        """A predictor at the start of a message."""
        return AttentivePredictor(self)

    def near(self, codebook: int, inputs: np.ndarray) -> np.ndarray:
        """What queries and keys are made of.

        Arguments
        ---------
        codebook : int
            k.
        inputs : np.ndarray
            What :class:`NeuralPredictor` sees of frames, shape (frame, input).

        Returns
        -------
        np.ndarray
            The nearest frames, and the frame itself as far as coarser
            codebooks have told of it, shape (frame, number).
        """
        width = self.embeddings[0].shape[1]
        nearest = inputs[:, : width * self.attentions[0].shape.key_frames]
        if not codebook:
            return nearest
        return np.concatenate([nearest, inputs[:, -width:]], axis=1)

    def content(self) -> bytes:
        """Attention, then all that :class:`NeuralPrior` has, big-endian.

        In four bytes each: heads, numbers of a head, frames of a key, frames
        that are looked back, E and K. Then of each codebook the layer of
        queries and keys and the layer of values, each its shift in one byte,
        its weights in two each, its bias in four each.
        """
        shape = self.attentions[0].shape
        sizes = (
            shape.heads,
            shape.head_dim,
            shape.key_frames,
            shape.reach,
            self.embeddings[0].shape[1],
            len(self.attentions),
        )
        parts = [np.array(sizes, ">u4").tobytes()]
        for attention in self.attentions:
            parts += map(layer_content, (attention.match, attention.value))
        return b"".join([*parts, super().content()])

    @classmethod
    def from_content(cls, content: bytes) -> "AttentiveNeuralPrior":
        """The prior of what :meth:`content` gave; ValueError if none."""
        reader = LayerReader(content)
        *sizes, embedding_dim, books = reader.sizes(6)
        shape = AttentionShape(*sizes)
        attentions = []
        for codebook in range(books):
            inputs = embedding_dim * (shape.key_frames + (codebook > 0))
            match = reader.layer(2 * shape.width, inputs)
            value = reader.layer(shape.width, embedding_dim)
            attentions.append(CodebookAttention(shape, match, value))
        parts = cls._read(reader, more_inputs=shape.width)
        reader.check_end()
        return cls(attentions, *parts)

    def _first_parts(self, count: int) -> tuple:
        """What :meth:`__init__` takes for the first codebooks alone."""
        return self.attentions[:count], *super()._first_parts(count)

    def _input_bounds(self, codebook: int) -> np.ndarray:
        """Largest magnitude of each input of a codebook's first layer."""
        bounds = super()._input_bounds(codebook)
        given = np.full(self.attentions[0].shape.width, LARGEST_ACTIVATION)
        return np.concatenate([bounds, given])

    def _check(self, codebook: int) -> None:
        """Raise ConfigurationError if the layers of a codebook do not fit."""
        shapes = {attention.shape for attention in self.attentions}
        if len(shapes) != 1 or len(self.attentions) != len(self.embeddings):
            raise ConfigurationError(
                "neural prior",
                f"attention of {len(self.attentions)} codebooks",
                f"{len(self.embeddings)}, all of one shape",
            )
        attention = self.attentions[codebook]
        if attention.shape.key_frames > self.context.recent_frames:
            raise ConfigurationError(
                "key_frames",
                attention.shape.key_frames,
                f"at most {self.context.recent_frames}, the recent_frames",
            )
        bounds = super()._input_bounds(codebook)
        attention.match.check(self.near(codebook, bounds[np.newaxis])[0])
        attention.value.check(np.abs(self.embeddings[codebook]).max(axis=0))
        super()._check(codebook)


class AttentivePredictor(NeuralPredictor):
    """Runs an :class:`AttentiveNeuralPrior` over one message.

    Beside what :class:`NeuralPredictor` keeps, it keeps of each codebook the
    keys and values of the frames that can still be looked back to.

    Arguments
    ---------
    prior : AttentiveNeuralPrior
        The prior.
    """

    def __init__(self, prior: AttentiveNeuralPrior) -> None:
        super().__init__(prior)
        self._memories = [
            AttentionMemory(each.shape) for each in prior.attentions
        ]
        # Those of frames whose codes are still to come.
        self._keys: list[np.ndarray | None] = [None] * len(self._memories)

    def update(self, codebook: int, entry: int) -> None:
        """Take note of the next code of a codebook."""
        if self._keys[codebook] is None:
            self._inputs(codebook)
        values = self._values(codebook, np.array([entry]))
        self._memories[codebook].append(self._keys[codebook], values)
        self._keys[codebook] = None
        super().update(codebook, entry)

    def _inputs(self, codebook: int) -> np.ndarray:
        """What the layers see of the next frame, shape (1, input)."""
        inputs = super()._inputs(codebook)
        queries, self._keys[codebook] = self._matched(codebook, inputs)
        found = self._memories[codebook].looked_back(queries)
        return np.concatenate([inputs, found], axis=1)

    def _inputs_ahead(self, codebook: int, entries: np.ndarray) -> np.ndarray:
        """What the layers see of frames that are all known."""
        inputs = super()._inputs_ahead(codebook, entries)
        found = self._memories[codebook].followed(
            *self._matched(codebook, inputs), self._values(codebook, entries)
        )
        self._keys[codebook] = None
        return np.concatenate([inputs, found], axis=1)

    def _matched(
        self, codebook: int, inputs: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        near = self._prior.near(codebook, inputs)
        return self._prior.attentions[codebook].matched(near)

    def _values(self, codebook: int, entries: np.ndarray) -> np.ndarray:
        return self._prior.values[codebook][entries]
