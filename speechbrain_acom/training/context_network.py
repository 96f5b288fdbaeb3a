"""The float network that a neural prior is rounded from."""

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from speechbrain_acom.context import Context
from speechbrain_acom.entropy.priors.attention import AttentionShape
from speechbrain_acom.entropy.priors.attentive import AttentiveNeuralPrior
from speechbrain_acom.entropy.priors.context_network import (
    CodebookNetwork,
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
from speechbrain_acom.quantizers.code_network import (
    CodebookLayers,
    CodeNetwork,
)
from speechbrain_acom.training.attention import (
    ContextAttention,
    freeze_attention,
)

# What PyTorch's cross-entropy takes for no target.
_NO_TARGET = -100


class ContextNetwork(CodeNetwork):
    """The float network that a ``NeuralPrior`` is fitted as.

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
        super().__init__(
            static.cardinalities,
            context,
            embedding_dim,
            hidden_dim,
            hidden_layers,
            dropout,
            embedding_dropout,
            more_inputs=attention.width if attention else 0,
        )
        for layers, table in zip(self.codebooks, static.tables, strict=True):
            logits = torch.tensor(np.log(table / TABLE_TOTAL)).float()
            layers.bias.data.copy_(logits)
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

    def _inputs(
        self, codebook: int, coarser: Tensor | float, own: Tensor
    ) -> list[Tensor]:
        """What the layers of a codebook see, with what attention finds."""
        inputs = super()._inputs(codebook, coarser, own)
        if self.attention_shape:
            width = own.shape[-1] * self.attention_shape.key_frames
            near = torch.cat([inputs[0][..., :width], *inputs[1:]], dim=-1)
            embedded = self.dropout(own[:, self.context.window :])
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


def freeze(network: CodeNetwork) -> NeuralPrior:
    """Round a network to 16-bit weights.

    Arguments
    ---------
    network : CodeNetwork
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
    if not (isinstance(network, ContextNetwork) and network.attention_shape):
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
    # A copy, also of double precision: callers change it.
    return np.array(values.detach().cpu(), dtype=np.float64)
