"""The float network that predicts codes from the codes before them.

A quantizer learns one beside its codebooks, to know what its codes will cost;
a neural prior is one that was rounded to integers.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from speechbrain_acom.context import Context


class CodebookLayers(nn.Module):
    """The float layers of one codebook; see ``CodebookNetwork``.

    At first all entries are as likely as ``bias`` says, whatever is seen.

    Arguments
    ---------
    num_inputs : int
        Values that describe the context.
    size : int
        V, entries of the codebook.
    embedding_dim, hidden_dim, hidden_layers, dropout
        As for :class:`CodeNetwork`.

    Example
    -------
    >>> layers = CodebookLayers(12, 8, 3, 16, 1, dropout=0.0)
    >>> layers(torch.randn(4, 10, 12)).shape
    torch.Size([4, 10, 3])
    """

    def __init__(
        self,
        num_inputs: int,
        size: int,
        embedding_dim: int,
        hidden_dim: int,
        hidden_layers: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.input = nn.Linear(num_inputs, hidden_dim)
        self.hidden = nn.ModuleList(
            nn.Linear(hidden_dim, hidden_dim) for _ in range(hidden_layers)
        )
        self.projection = nn.Linear(hidden_dim, embedding_dim)
        nn.init.zeros_(self.projection.weight)
        nn.init.zeros_(self.projection.bias)
        self.bias = nn.Parameter(torch.zeros(size))
        self.dropout = nn.Dropout(dropout)

    def forward(self, inputs: Tensor) -> Tensor:
        """What is compared with the embeddings of the entries.

        Arguments
        ---------
        inputs : Tensor
            What describes the context, shape (..., input).

        Returns
        -------
        Tensor
            Shape (..., E).
        """
        state = self.dropout(functional.relu(self.input(inputs)))
        for layer in self.hidden:
            state = state + self.dropout(functional.relu(layer(state)))
        return self.projection(state)


class CodeNetwork(nn.Module):
    """Logits of codes, given codes that the decoder knows by then.

    A frame is the sum of the embeddings of its codes; frames before the
    message have an embedding of their own. Codebook k sees the sums over the
    codebooks up to k of past frames, and over the coarser ones of the frame to
    predict; nothing depends on finer codebooks. The entries are compared with
    what its layers give, by the same embeddings.

    Arguments
    ---------
    cardinalities : Sequence[int]
        Entries per codebook, coarse to fine: V_1..V_K.
    context : Context
        Which past frames are seen.
    embedding_dim : int
        E, values that describe a code.
    hidden_dim, hidden_layers : int
        H, the width of a codebook's layers, and how many of them are from H
        to H.
    dropout, embedding_dropout : float
        Probability that a hidden value, or a value of a past frame's
        embedding, is left out in training.
    more_inputs : int
        Values that the first layers see beside the context.

    Example
    -------
    >>> network = CodeNetwork((8, 9), Context(2, 1), 3, 16, 1)
    >>> past = network.outside((4, network.context.window))
    >>> codes = torch.randint(8, (4, 10, 2))
    >>> first, second = network(torch.cat([past, codes], dim=1))
    >>> first.shape, second.shape
    (torch.Size([4, 10, 8]), torch.Size([4, 10, 9]))
    """

    def __init__(
        self,
        cardinalities: Sequence[int],
        context: Context,
        embedding_dim: int,
        hidden_dim: int,
        hidden_layers: int,
        dropout: float = 0.0,
        embedding_dropout: float = 0.0,
        more_inputs: int = 0,
    ) -> None:
        super().__init__()
        self.context = context
        # The last row stands for frames outside the message.
        self.embeddings = nn.ParameterList(
            torch.randn(entries + 1, embedding_dim) / math.sqrt(embedding_dim)
            for entries in cardinalities
        )
        spans = len(context.spans)
        self.codebooks = nn.ModuleList(
            CodebookLayers(
                (spans + (codebook > 0)) * embedding_dim + more_inputs,
                entries,
                embedding_dim,
                hidden_dim,
                hidden_layers,
                dropout,
            )
            for codebook, entries in enumerate(cardinalities)
        )
        self.dropout = nn.Dropout(embedding_dropout)

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """Entries per codebook, coarse to fine: (V_1, ..., V_K)."""
        return tuple(len(layers.bias) for layers in self.codebooks)

    def outside(self, shape: tuple[int, ...]) -> Tensor:
        """Codes of frames outside the message, int64, shape (*shape, K)."""
        sizes = torch.tensor(self.cardinalities)
        return sizes.to(self.embeddings[0].device).expand(*shape, -1)

    def forward(self, pieces: Tensor) -> list[Tensor]:
        """Logits of all frames of pieces of utterances.

        Arguments
        ---------
        pieces : Tensor
            Codes, shape (piece, window + frame, k) of the first k codebooks:
            V_k stands for frames outside the message.

        Returns
        -------
        list[Tensor]
            k tensors of shape (piece, frame, V_k).
        """
        logits, coarser = [], 0.0
        for codebook in range(pieces.shape[-1]):
            own = self.embedded(pieces[..., codebook], codebook)
            inputs = self._inputs(codebook, coarser, own)
            coarser = coarser + own
            logits.append(self.logits(codebook, torch.cat(inputs, dim=-1)))
        return logits

    def embedded(self, codes: Tensor, codebook: int) -> Tensor:
        """Embeddings of a codebook's codes, shape (..., E)."""
        return functional.embedding(codes, self.embeddings[codebook])

    def logits(self, codebook: int, inputs: Tensor) -> Tensor:
        """Natural logarithms, not normalised, shape (..., V_k)."""
        layers = self.codebooks[codebook]
        entries = self.embeddings[codebook][:-1]
        return functional.linear(layers(inputs), entries, layers.bias)

    def _inputs(
        self, codebook: int, coarser: Tensor | float, own: Tensor
    ) -> list[Tensor]:
        """What the layers of a codebook see, each (piece, frame, number).

        ``coarser`` and ``own`` are embeddings, (piece, window + frame, E), of
        all coarser codes together and of the codebook's own.
        """
        inputs = [self._span_means(self.dropout((coarser + own)[:, :-1]))]
        if codebook:
            inputs.append(self.dropout(coarser[:, self.context.window :]))
        return inputs

    def _span_means(self, frames: Tensor) -> Tensor:
        """Inputs of the frames behind the first window: see ``SpanSums``.

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
