"""Neural prior: a small causal network, frozen into integer arithmetic."""

from array import array
from collections.abc import Sequence

import numpy as np

from speechbrain_acom.context import Context
from speechbrain_acom.entropy.priors.context_network import (
    CodebookNetwork,
)
from speechbrain_acom.entropy.priors.contract import (
    TOTAL_FREQUENCY,
    Predictor,
    Prior,
    check_count,
    checked_cardinalities,
)
from speechbrain_acom.entropy.priors.fixed_point import (
    ACTIVATION_BITS,
    LARGEST_ACTIVATION,
    LOGARITHM_BITS,
    FixedLayer,
    falling_powers,
    powers_of_two,
)
from speechbrain_acom.entropy.priors.integers import scaled
from speechbrain_acom.entropy.priors.kernels import (
    AFFINE,
    TABLE,
    affine,
    compiled,
    table,
)
from speechbrain_acom.entropy.priors.layer_files import (
    LayerReader,
    layer_content,
)
from speechbrain_acom.entropy.priors.span_sums import BLOCK_FRAMES, SpanSums
from speechbrain_acom.errors import ConfigurationError


class NeuralPrior(Prior):
    """A causal network over past frames and coarser codebooks.

    A frame is the sum of the embeddings of its codes; frames before the
    message have an embedding of their own. Each codebook has its own layers,
    and sees the sums over itself and the coarser codebooks only. What its
    layers give is compared with the embeddings of its entries; the logarithm
    of the static frequency is added.

    The function ``fit_neural_prior`` of ``speechbrain_acom.training`` trains
    and freezes one.

    Arguments
    ---------
    context : Context
        Which frames are seen.
    embedding_bits : int
        Fraction bits of the embeddings.
    embeddings : Sequence[np.ndarray]
        K arrays, coarse to fine, of shape (V_k + 1, E), float64 that holds
        16-bit integers. The last row stands for frames before the message.
    networks : Sequence[CodebookNetwork]
        The layers of each codebook.

    Raises
    ------
    ConfigurationError
        If shapes disagree, or if a sum could be too large to be exact.
    """

    KIND = 2

    def __init__(
        self,
        context: Context,
        embedding_bits: int,
        embeddings: Sequence[np.ndarray],
        networks: Sequence[CodebookNetwork],
    ) -> None:
        self._cardinalities = checked_cardinalities(
            len(table) - 1 for table in embeddings
        )
        self.context = context
        self.embedding_bits = embedding_bits
        self.embeddings = tuple(embeddings)
        self.networks = tuple(networks)
        self._outputs = tuple(
            FixedLayer(
                table[:-1],
                embedding_bits + ACTIVATION_BITS - LOGARITHM_BITS,
                network.bias,
            )
            for table, network in zip(embeddings, networks, strict=True)
        )
        for codebook in range(len(embeddings)):
            self._check(codebook)
        # Now, and not when a message waits.
        compiled(affine, AFFINE), compiled(table, TABLE)

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """Entries per codebook, coarse to fine: (V_1, ..., V_K)."""
        return self._cardinalities

    @property
    def parameters(self) -> int:
        """Numbers that were trained: embeddings, weights and biases."""
        tables = sum(table.size for table in self.embeddings)
        return tables + sum(network.size for network in self.networks)

    def predictor(self) -> "NeuralPredictor":
        """A predictor at the start of a message."""
        return NeuralPredictor(self)

    def first(self, count: int) -> "NeuralPrior":
        """The prior of the first codes of every frame.

        Arguments
        ---------
        count : int
            From 1 to K.

        Returns
        -------
        NeuralPrior
            It gives the same tables; this prior itself for all K.

        Raises
        ------
        ConfigurationError
            If there is no such number of codebooks.
        """
        check_count(count, len(self._cardinalities))
        if count == len(self._cardinalities):
            return self
        return type(self)(*self._first_parts(count))

    def _first_parts(self, count: int) -> tuple:
        """What :meth:`__init__` takes for the first codebooks alone."""
        return (
            self.context,
            self.embedding_bits,
            self.embeddings[:count],
            self.networks[:count],
        )

    def tables(self, codebook: int, inputs: np.ndarray) -> np.ndarray:
        """Tables of frames of one codebook.

        Arguments
        ---------
        codebook : int
            k.
        inputs : np.ndarray
            What the codebook's first layer sees, integers in float64, shape
            (frame, input).

        Returns
        -------
        np.ndarray
            int64, shape (frame, V_k), each at least 1, rows of sum 2^24.
        """
        projected = self.networks[codebook].projected(inputs)
        logarithms = self._outputs[codebook](projected)
        if len(logarithms) == 1:
            kernel = compiled(table, TABLE)
            row = kernel(logarithms[0], falling_powers(), TOTAL_FREQUENCY)
            return row[np.newaxis]
        return scaled(powers_of_two(logarithms))

    def content(self) -> bytes:
        """Sizes, embeddings, then layer by layer, all big-endian.

        In four bytes each: K, V_1..V_K, the frames and groups of the context,
        E, H and the number of hidden layers. In one byte: the fraction bits
        of the embeddings, whose tables follow in two bytes a number. Then for
        each codebook: of each layer the shift in one byte, the weights in two
        each, the bias in four each; last the output's bias in four each.
        """
        first = self.networks[0]
        sizes = [
            len(self._cardinalities),
            *self._cardinalities,
            self.context.recent_frames,
            self.context.pooled_groups,
            self.embeddings[0].shape[1],
            len(first.input.bias),
            len(first.hidden),
        ]
        parts = [
            np.array(sizes, ">u4").tobytes(),
            np.uint8(self.embedding_bits).tobytes(),
        ]
        parts += [table.astype(">i2").tobytes() for table in self.embeddings]
        for network in self.networks:
            parts += map(layer_content, network.layers)
            parts.append(network.bias.astype(">i4").tobytes())
        return b"".join(parts)

    @classmethod
    def from_content(cls, content: bytes) -> "NeuralPrior":
        """The prior of what :meth:`content` gave; ValueError if none."""
        reader = LayerReader(content)
        parts = cls._read(reader)
        reader.check_end()
        return cls(*parts)

    @staticmethod
    def _read(reader: LayerReader, more_inputs: int = 0) -> tuple:
        """What :meth:`__init__` takes.

        ``more_inputs``: what the first layers see beside the context.
        """
        (books,) = reader.sizes(1)
        cardinalities = reader.sizes(books)
        recent_frames, pooled_groups, width, hidden, depth = reader.sizes(5)
        context = Context(recent_frames, pooled_groups)
        if 0 in (width, hidden):
            raise ValueError("layers of no width")
        bits = reader.byte()
        embeddings = [
            reader.numbers(">i2", entries + 1, width)
            for entries in cardinalities
        ]
        networks = []
        for codebook, entries in enumerate(cardinalities):
            inputs = width * (len(context.spans) + (codebook > 0))
            networks.append(
                CodebookNetwork(
                    input=reader.layer(hidden, inputs + more_inputs),
                    hidden=tuple(
                        reader.layer(hidden, hidden) for _ in range(depth)
                    ),
                    projection=reader.layer(width, hidden),
                    bias=reader.numbers(">i4", entries),
                )
            )
        return context, bits, embeddings, networks

    def _input_bounds(self, codebook: int) -> np.ndarray:
        """Largest magnitude of each input of a codebook's first layer."""
        largest = [np.abs(table).max() for table in self.embeddings]
        frames = [
            width * sum(largest[: codebook + 1])
            for width in self.context.widths
        ]
        # The frame to predict, where coarser codebooks have told of it.
        now = [sum(largest[:codebook])] if codebook else []
        return np.repeat(frames + now, self.embeddings[0].shape[1])

    def _check(self, codebook: int) -> None:
        """Raise ConfigurationError if the layers of a codebook do not fit."""
        network, output = self.networks[codebook], self._outputs[codebook]
        bounds = self._input_bounds(codebook)
        for layer in (*network.layers, output):
            layer.check(bounds)
            # Activations saturate at the same magnitude everywhere.
            bounds = np.full(len(layer.bias), float(LARGEST_ACTIVATION))
        if len(output.bias) != self._cardinalities[codebook]:
            raise ConfigurationError(
                "neural prior",
                f"an output of {len(output.bias)} entries",
                f"{self._cardinalities[codebook]}, as many as embeddings",
            )


class NeuralPredictor(Predictor):
    """Runs a :class:`NeuralPrior` over one message.

    It keeps sums of the last window, however long the message is; and, plane
    by plane, the codes that a finer codebook has still to pass, in four bytes
    each.

    Arguments
    ---------
    prior : NeuralPrior
        The prior.
    """

    def __init__(self, prior: NeuralPrior) -> None:
        self._prior = prior
        # The row behind the last entry: a frame before the message.
        outside = np.cumsum([table[-1] for table in prior.embeddings], axis=0)
        self._sums = [SpanSums(prior.context, row) for row in outside]
        self._codes = [array("I") for _ in prior.cardinalities]
        # Frames of each codebook that are known, and those dropped from all.
        self._known = [0] * len(self._codes)
        self._dropped = 0

    def frequencies(self, codebook: int) -> np.ndarray:
        """Table of the next code of a codebook, int64, shape (V_k,)."""
        return self._prior.tables(codebook, self._inputs(codebook))[0]

    def update(self, codebook: int, entry: int) -> None:
        """Take note of the next code of a codebook."""
        self._append(codebook, np.array([entry]))

    def observe(self, codebook: int, entries: np.ndarray) -> np.ndarray:
        """Tables of several known codes, int64, shape (frame, V_k)."""
        tables = []
        for start in range(0, max(1, len(entries)), BLOCK_FRAMES):
            block = entries[start : start + BLOCK_FRAMES]
            inputs = self._inputs_ahead(codebook, block)
            tables.append(self._prior.tables(codebook, inputs))
            self._append(codebook, block)
        return np.concatenate(tables)

    def _inputs(self, codebook: int) -> np.ndarray:
        """What the layers see of the next frame, shape (1, input)."""
        sums = self._sums[codebook].now()
        if not codebook:
            return sums
        return np.concatenate([sums, self._coarser(codebook, 1)], axis=1)

    def _inputs_ahead(self, codebook: int, entries: np.ndarray) -> np.ndarray:
        """What the layers see of frames that are all known."""
        frames = self._frames(codebook, entries)
        sums = self._sums[codebook].ahead(frames)
        if not codebook:
            return sums
        coarser = self._coarser(codebook, len(entries))
        return np.concatenate([sums, coarser], axis=1)

    def _append(self, codebook: int, entries: np.ndarray) -> None:
        """Take note of the next codes of a codebook, 64 or fewer."""
        self._sums[codebook].append(self._frames(codebook, entries))
        self._known[codebook] += len(entries)
        self._codes[codebook].extend(entries.tolist())
        passed = min(self._known) - self._dropped
        # Many at a time, so that moving the rest costs next to nothing.
        if passed >= BLOCK_FRAMES:
            for kept in self._codes:
                del kept[:passed]
            self._dropped += passed

    def _frames(self, codebook: int, entries: np.ndarray) -> np.ndarray:
        """Sums of the embeddings of a codebook's next codes and coarser ones.

        Shape (frame, E).
        """
        own = self._prior.embeddings[codebook][entries]
        if not codebook:
            return own
        return own + self._coarser(codebook, len(entries))

    def _coarser(self, codebook: int, count: int) -> np.ndarray:
        """Sums of the embeddings of the coarser codes of the next frames."""
        start = self._known[codebook] - self._dropped
        return sum(
            table[kept[start : start + count].tolist()]
            for table, kept in zip(
                self._prior.embeddings[:codebook], self._codes, strict=False
            )
        )
