"""The float network that a neural prior is rounded from."""

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from speechbrain_acom.entropy.priors.attention import AttentionShape
from speechbrain_acom.entropy.priors.attentive import AttentiveNeuralPrior
from speechbrain_acom.entropy.priors.context_network import (
    CodebookNetwork,
    Context,
)
from speechbrain_acom.entropy.priors.fixed_point import (
    ACTIVATION_BITS,
    LOGARITHM_BITS,
    fixed_layer,
    fraction_bits,
    rounded,
)
from speechbrain_acom.entropy.priors.neural import NeuralPrior
from speechbrain_acom.entropy.priors.static import TABLE_TOTAL, StaticPrior
from speechbrain_acom.training.attention import (
    ContextAttention,
    freeze_attention,
)

# What PyTorch's cross-entropy takes for no target.
_NO_TARGET = -100


class CodebookLayers(nn.Module):
    """The float layers of one codebook; see ``CodebookNetwork``.

    Arguments
    ---------
    num_inputs : int
        Values that describe the context.
    embedding_dim, hidden_dim, hidden_layers, dropout
        As for :func:`fit_neural_prior`.
    shares : np.ndarray
        Static probabilities of the entries, shape (V,).
    """

    def __init__(
        self,
        num_inputs: int,
        embedding_dim: int,
        hidden_dim: int,
        hidden_layers: int,
        dropout: float,
        shares: np.ndarray,
    ) -> None:
        super().__init__()
        self.input = nn.Linear(num_inputs, hidden_dim)
        self.hidden = nn.ModuleList(
            nn.Linear(hidden_dim, hidden_dim) for _ in range(hidden_layers)
        )
        # It starts as the static prior.
        self.projection = nn.Linear(hidden_dim, embedding_dim)
        nn.init.zeros_(self.projection.weight)
        nn.init.zeros_(self.projection.bias)
        self.bias = nn.Parameter(torch.tensor(np.log(shares)).float())
        self.dropout = nn.Dropout(dropout)

    def forward(self, inputs: Tensor, entries: Tensor) -> Tensor:
        """Logits of the codes.

        Arguments
        ---------
        inputs : Tensor
            What describes the context, shape (..., input).
        entries : Tensor
            Embeddings of the codebook's entries, shape (V, E).

        Returns
        -------
        Tensor
            Natural logarithms, not normalised, shape (..., V).
        """
        state = self.dropout(functional.relu(self.input(inputs)))
        for layer in self.hidden:
            state = state + self.dropout(functional.relu(layer(state)))
        return functional.linear(self.projection(state), entries, self.bias)


class ContextNetwork(nn.Module):
    """The float network that a ``NeuralPrior`` is rounded from.

    Arguments
    ---------
    static : StaticPrior
        What it starts from; it gives the codebooks' sizes.
    context : Context
        Which past frames are seen.
    attention : AttentionShape | None
        How codebooks look back; None: they do not.
    embedding_dim, hidden_dim, hidden_layers, dropout, embedding_dropout
        As for :func:`fit_neural_prior`.
    """

    def __init__(
        self,
        static: StaticPrior,
        context: Context,
        attention: AttentionShape | None,
        embedding_dim: int,
        hidden_dim: int,
        hidden_layers: int,
        dropout: float,
        embedding_dropout: float,
    ) -> None:
        super().__init__()
        self.context = context
        self.embeddings = nn.ParameterList(
            torch.randn(entries + 1, embedding_dim) / math.sqrt(embedding_dim)
            for entries in static.cardinalities
        )
        spans = len(context.spans)
        self.attention_shape = attention
        self.attentions = nn.ModuleList(
            ContextAttention(
                attention,
                (attention.key_frames + (codebook > 0)) * embedding_dim,
                embedding_dim,
                dropout,
            )
            for codebook in range(len(static.tables) if attention else 0)
        )
        looked_back = attention.width if attention else 0
        self.codebooks = nn.ModuleList(
            CodebookLayers(
                num_inputs=(spans + (codebook > 0)) * embedding_dim
                + looked_back,
                embedding_dim=embedding_dim,
                hidden_dim=hidden_dim,
                hidden_layers=hidden_layers,
                dropout=dropout,
                shares=table / TABLE_TOTAL,
            )
            for codebook, table in enumerate(static.tables)
        )
        self.dropout = nn.Dropout(embedding_dropout)

    def forward(self, pieces: Tensor) -> list[Tensor]:
        """Logits of all frames of pieces of utterances.

        Arguments
        ---------
        pieces : Tensor
            Codes, shape (piece, window + frame, K): V_k stands for frames
            outside the message.

        Returns
        -------
        list[Tensor]
            K tensors of shape (piece, frame, V_k).
        """
        logits, frames = [], 0.0
        for codebook, layers in enumerate(self.codebooks):
            table = self.embeddings[codebook]
            own = functional.embedding(pieces[..., codebook], table)
            inputs = self._inputs(codebook, frames, own)
            frames = frames + own
            logits.append(layers(torch.cat(inputs, dim=-1), table[:-1]))
        return logits

    def _inputs(
        self, codebook: int, coarser: Tensor | float, own: Tensor
    ) -> list[Tensor]:
        """What the layers of a codebook see, each (piece, frame, number).

        ``coarser`` and ``own`` are embeddings, (piece, window + frame, E), of
        all coarser codes together and of the codebook's own.
        """
        window = self.context.window
        seen = self.dropout((coarser + own)[:, :-1])
        inputs = [self._span_means(seen)]
        if codebook:
            inputs.append(self.dropout(coarser[:, window:]))
        if self.attention_shape:
            width = own.shape[-1] * self.attention_shape.key_frames
            near = torch.cat([inputs[0][..., :width], *inputs[1:]], dim=-1)
            embedded = self.dropout(own[:, window:])
            inputs.append(self.attentions[codebook](near, embedded))
        return inputs

    def bits(self, pieces: Tensor) -> Tensor:
        """Cross-entropy of the real frames of some pieces.

        Arguments
        ---------
        pieces : Tensor
            As for :meth:`forward`.

        Returns
        -------
        Tensor
            Bits of all codes together, a scalar.
        """
        total = torch.zeros((), device=pieces.device)
        for codebook, logits in enumerate(self(pieces)):
            targets = pieces[:, self.context.window :, codebook]
            outside = targets == logits.shape[-1]
            nats = functional.cross_entropy(
                logits.flatten(0, 1),
                targets.masked_fill(outside, _NO_TARGET).flatten(),
                ignore_index=_NO_TARGET,
                reduction="sum",
            )
            total = total + nats / math.log(2)
        return total

    def count_frames(self, pieces: Tensor) -> Tensor:
        """Real frames of some pieces, a scalar."""
        targets = pieces[:, self.context.window :, 0]
        return (targets < len(self.codebooks[0].bias)).sum()

    def _span_means(self, frames: Tensor) -> Tensor:
        """Inputs of the frames behind the first window: see span_sums.

        Sums are divided by the root of the number of frames, so that all
        inputs are about as large; freezing puts this into the weights.
        """
        total = functional.pad(frames.cumsum(dim=1), (0, 0, 1, 0))
        start, stop = self.context.window, total.shape[1]
        parts = [
            (
                total[:, start - near + 1 : stop - near + 1]
                - total[:, start - far : stop - far]
            )
            / math.sqrt(far - near + 1)
            for near, far in self.context.spans
        ]
        return torch.cat(parts, dim=-1)


def freeze(network: ContextNetwork) -> NeuralPrior:
    """Round a network to 16-bit weights.

    Arguments
    ---------
    network : ContextNetwork
        The trained network, on any device.

    Returns
    -------
    NeuralPrior
        It computes with integers only. An ``AttentiveNeuralPrior``, if the
        network looks back.
    """
    embeddings = [_array(table) for table in network.embeddings]
    bits = min(fraction_bits(table) for table in embeddings)
    networks = [
        _frozen_layers(layers, network.context, bits)
        for layers in network.codebooks
    ]
    parts = (
        network.context,
        bits,
        [rounded(table, bits) for table in embeddings],
        networks,
    )
    if not network.attention_shape:
        return NeuralPrior(*parts)
    attentions = [
        freeze_attention(attention, bits) for attention in network.attentions
    ]
    return AttentiveNeuralPrior(attentions, *parts)


def _frozen_layers(
    layers: CodebookLayers, context: Context, embedding_bits: int
) -> CodebookNetwork:
    # The network's own means of spans are sums here.
    width = layers.projection.out_features
    divisors = np.sqrt(np.repeat(context.widths, width))
    weights = _array(layers.input.weight)
    weights[:, : len(divisors)] /= divisors
    # The integers count logarithms to base 2.
    projection, bias, logits = (
        _array(values) / math.log(2)
        for values in (
            layers.projection.weight,
            layers.projection.bias,
            layers.bias,
        )
    )
    return CodebookNetwork(
        input=fixed_layer(
            weights, _array(layers.input.bias), embedding_bits, ACTIVATION_BITS
        ),
        hidden=tuple(
            fixed_layer(
                _array(layer.weight),
                _array(layer.bias),
                ACTIVATION_BITS,
                ACTIVATION_BITS,
            )
            for layer in layers.hidden
        ),
        projection=fixed_layer(
            projection, bias, ACTIVATION_BITS, ACTIVATION_BITS
        ),
        bias=np.rint(logits * 2**LOGARITHM_BITS),
    )


def _array(values: Tensor) -> np.ndarray:
    return values.detach().cpu().double().numpy()
