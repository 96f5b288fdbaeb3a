"""The float attention that a neural prior's attention is rounded from."""

import math

import numpy as np
import torch
from torch import Tensor, nn

from speechbrain_acom.entropy.priors.attention import (
    AttentionShape,
    CodebookAttention,
)
from speechbrain_acom.entropy.priors.fixed_point import (
    ACTIVATION_BITS,
    fixed_layer,
)


class ContextAttention(nn.Module):
    """The float layers of one codebook; see ``CodebookAttention``.

    Arguments
    ---------
    shape : AttentionShape
        Sizes.
    num_inputs : int
        Values that describe a frame's past.
    embedding_dim : int
        E, values that describe a code.
    dropout : float
        Probability that a past frame is not looked at in training.
    """

    def __init__(
        self,
        shape: AttentionShape,
        num_inputs: int,
        embedding_dim: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.shape = shape
        self.match = nn.Linear(num_inputs, 2 * shape.width)
        self.value = nn.Linear(embedding_dim, shape.width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, near: Tensor, embedded: Tensor) -> Tensor:
        """What each frame finds in those before it.

        Arguments
        ---------
        near : Tensor
            What describes each frame's past, shape (piece, frame, input).
        embedded : Tensor
            Embeddings of the frames' own codes, shape (piece, frame, E).

        Returns
        -------
        Tensor
            Shape (piece, frame, width).
        """
        queries, keys = map(self._by_head, self.match(near).chunk(2, dim=-1))
        scores = queries @ keys.transpose(2, 3) / math.sqrt(self.shape.head_dim)
        scores = scores + self._falls(scores)
        # It stands for none of them: a score of 0, no value.
        scores = nn.functional.pad(scores, (1, 0))
        weights = self.dropout(scores.softmax(dim=-1))[..., 1:]
        means = weights @ self._by_head(self.value(embedded))
        return means.transpose(1, 2).flatten(2)

    def _by_head(self, values: Tensor) -> Tensor:
        """Values (piece, frame, width) as (piece, head, frame, head_dim)."""
        split = values.unflatten(-1, (self.shape.heads, self.shape.head_dim))
        return split.transpose(1, 2)

    def _falls(self, scores: Tensor) -> Tensor:
        """What distance takes from scores, shape (head, frame, frame)."""
        frames = torch.arange(scores.shape[-1], device=scores.device)
        back = frames[:, None] - frames
        heads = torch.arange(1, self.shape.heads + 1, device=scores.device)
        falls = -(back - 1) * 0.5 ** heads[:, None, None]
        outside = (back < 1) | (back > self.shape.reach)
        return falls.masked_fill(outside, -math.inf)


def freeze_attention(
    attention: ContextAttention, embedding_bits: int
) -> CodebookAttention:
    """Round attention to integers.

    Arguments
    ---------
    attention : ContextAttention
        The trained layers, on any device.
    embedding_bits : int
        Fraction bits of what describes frames, and of what attention gives.

    Returns
    -------
    CodebookAttention
        It computes with integers only.
    """
    weights, bias, value, value_bias = (
        np.array(values.detach().cpu(), dtype=np.float64)
        for values in (
            attention.match.weight,
            attention.match.bias,
            attention.value.weight,
            attention.value.bias,
        )
    )
    shape = attention.shape
    # Scores become logarithms to base 2 by what queries are multiplied with.
    scale = 1 / (math.log(2) * math.sqrt(shape.head_dim))
    weights[: shape.width] *= scale
    bias[: shape.width] *= scale
    return CodebookAttention(
        shape,
        fixed_layer(weights, bias, embedding_bits, ACTIVATION_BITS),
        fixed_layer(value, value_bias, embedding_bits, embedding_bits),
    )
