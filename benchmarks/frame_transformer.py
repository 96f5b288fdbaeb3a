"""A causal transformer over frames of codes.

As the language model of EnCodec (Défossez et al., High fidelity neural audio
compression, 2022, section 3.3) it reads the codes of past frames, the sum of
an embedding a codebook, and gives the probabilities of the K codes of the next
frame by K heads. Three things differ, all in its favour on short recordings:
attention weighs frames by their distance (Press et al., Train short, test
long, 2021) instead of adding sinusoids; a head sees the coarser codes of its
own frame, too; and heads may compare with the embeddings instead of having
weights of their own (Press and Wolf, Using the output embedding to improve
language models, 2017).
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

LAYERS, HEADS = 2, 4
# Frames that attention reaches back: 4 s at 25 frames/s, EnCodec's has 3.5 s.
CONTEXT = 100
# The best of a dozen on the development part of digits: a peer at its best.
DROPOUT = 0.2
# What stands in the place of the codes of the frame before the first.
NO_FRAME = -1

Cache = list[tuple[Tensor, Tensor]]


class Block(nn.Module):
    """Causal attention over the last frames, then two linear layers.

    Arguments
    ---------
    width : int
        Size of the last axis, a multiple of the heads.
    hidden : int
        Size between the two linear layers.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList([nn.LayerNorm(width) for _ in range(2)])
        self.inputs = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)
        self.feed_forward = nn.Sequential(
            nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width)
        )
        self.dropout = nn.Dropout(DROPOUT)
        slopes = 2.0 ** -torch.arange(1, HEADS + 1)
        self.register_buffer("slopes", slopes, persistent=False)

    def forward(
        self, values: Tensor, past: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Values of new frames, and keys and values to go on from.

        Arguments
        ---------
        values : Tensor
            New frames, shape (batch, time, width).
        past : tuple[Tensor, Tensor] | None
            What the call for the frames before gave; None: there are none.

        Returns
        -------
        tuple[Tensor, tuple[Tensor, Tensor]]
            Of the new frames, shape (batch, time, width); keys and values of
            the last frames, shape (batch, head, time, width / heads).
        """
        batch, frames, width = values.shape
        parts = self.inputs(self.norms[0](values)).chunk(3, dim=-1)
        query, key, value = (
            part.view(batch, frames, HEADS, -1).transpose(1, 2)
            for part in parts
        )
        if past is not None:
            key = torch.cat([past[0], key], dim=2)
            value = torch.cat([past[1], value], dim=2)
        attended = nn.functional.scaled_dot_product_attention(
            query, key, value, attn_mask=self._bias(frames, key.shape[2])
        )
        attended = attended.transpose(1, 2).reshape(batch, frames, width)
        values = values + self.dropout(self.output(attended))
        forwarded = self.feed_forward(self.norms[1](values))
        kept = slice(1 - CONTEXT, None)
        return values + self.dropout(forwarded), (
            key[:, :, kept],
            value[:, :, kept],
        )

    def _bias(self, queries: int, keys: int) -> Tensor:
        """What is added to the scores, shape (head, query, key)."""
        device = self.slopes.device
        places = torch.arange(keys - queries, keys, device=device)
        distance = places[:, None] - torch.arange(keys, device=device)
        hidden = (distance < 0) | (distance >= CONTEXT)
        bias = -self.slopes[:, None, None] * distance
        return bias.masked_fill(hidden, -math.inf)


class Head(nn.Module):
    """Logits of one codebook's codes.

    Arguments
    ---------
    width : int
        Channels of a frame's state.
    entries : int
        V.
    tied : bool
        Whether a projection of the state is compared with the embeddings of
        the entries; otherwise the head has weights for each of them.
    coarser : bool
        Whether there are coarser codebooks, whose codes of the same frame
        are to be seen.
    """

    def __init__(
        self, width: int, entries: int, tied: bool, coarser: bool
    ) -> None:
        super().__init__()
        self.tied = tied
        self.mixer = None
        if coarser:
            self.mixer = nn.Sequential(
                nn.Linear(2 * width, width),
                nn.GELU(),
                nn.Dropout(DROPOUT),
                nn.Linear(width, width),
            )
        self.projection = nn.Linear(
            width, width if tied else entries, bias=tied
        )
        self.bias = nn.Parameter(torch.zeros(entries))

    def forward(
        self, state: Tensor, coarser: Tensor, entries: Tensor
    ) -> Tensor:
        """Logits of the codes.

        Arguments
        ---------
        state : Tensor
            Of the frames before, shape (..., width).
        coarser : Tensor
            Sum of the embeddings of the coarser codes, shape (..., width);
            the coarsest codebook does not look at it.
        entries : Tensor
            Embeddings of the entries, shape (V, width).

        Returns
        -------
        Tensor
            Natural logarithms, not normalised, shape (..., V).
        """
        if self.mixer is not None:
            state = state + self.mixer(torch.cat([state, coarser], dim=-1))
        values = self.projection(state)
        if self.tied:
            values = functional.linear(values, entries)
        return values + self.bias


class FrameTransformer(nn.Module):
    """Logits of each code from the frames before it and the coarser codes.

    Arguments
    ---------
    cardinalities : Sequence[int]
        Entries per codebook.
    width : int
        Channels, a multiple of the heads. Larger: more parameters.
    hidden : int
        Channels between the two linear layers of a block.
    tied : bool
        Whether the heads share their weights with the embeddings.
    """

    def __init__(
        self,
        cardinalities: Sequence[int],
        width: int,
        hidden: int,
        tied: bool = True,
    ) -> None:
        super().__init__()
        self.cardinalities = tuple(cardinalities)
        self.width, self.hidden, self.tied = width, hidden, tied
        self.start = nn.Parameter(torch.zeros(width))
        self.embeddings = nn.ModuleList(
            [nn.Embedding(size, width) for size in self.cardinalities]
        )
        self.blocks = nn.ModuleList(
            [Block(width, hidden) for _ in range(LAYERS)]
        )
        self.norm = nn.LayerNorm(width)
        self.heads = nn.ModuleList(
            [
                Head(width, size, tied, coarser=book > 0)
                for book, size in enumerate(self.cardinalities)
            ]
        )
        for embedding in self.embeddings:
            nn.init.normal_(embedding.weight, std=width**-0.5)

    @classmethod
    def of_size(
        cls, cardinalities: Sequence[int], parameters: int, tied: bool = True
    ) -> "FrameTransformer":
        """The one whose number of parameters is nearest to a given one.

        Arguments
        ---------
        cardinalities : Sequence[int]
            Entries per codebook.
        parameters : int
            How many there should be.
        tied : bool
            Whether the heads share their weights with the embeddings.

        Returns
        -------
        FrameTransformer
            With random weights.
        """
        width, hidden = HEADS, 1
        with torch.device("meta"):
            while True:
                wider = width + HEADS
                larger = cls(cardinalities, wider, 4 * wider, tied)
                if larger.parameter_count > parameters:
                    break
                width = wider
            # What is left over goes between the linear layers.
            least = cls(cardinalities, width, hidden, tied).parameter_count
        per_channel = LAYERS * (2 * width + 1)
        hidden += max(0, round((parameters - least) / per_channel))
        return cls(cardinalities, width, hidden, tied)

    @property
    def parameter_count(self) -> int:
        """Weights that are trained, shared ones once."""
        return sum(weights.numel() for weights in self.parameters())

    def forward(self, codes: Tensor) -> list[Tensor]:
        """Logits of every frame of whole utterances.

        Arguments
        ---------
        codes : Tensor
            int64, shape (batch, time, K).

        Returns
        -------
        list[Tensor]
            K tensors, shape (batch, time, V_k).
        """
        read = functional.pad(codes[:, :-1], (0, 0, 1, 0), value=NO_FRAME)
        states, _ = self.states(read)
        return [
            self.logits(states, codes[..., :book])
            for book in range(len(self.cardinalities))
        ]

    def states(
        self, read: Tensor, past: Cache | None = None
    ) -> tuple[Tensor, Cache]:
        """What is known of each frame from the frames before it.

        Arguments
        ---------
        read : Tensor
            Codes of the frame before each, int64, shape (batch, time, K); -1
            where there is none.
        past : Cache | None
            What the call for the frames before gave; None: there are none.

        Returns
        -------
        tuple[Tensor, Cache]
            Shape (batch, time, width), and what to give to the next call.
        """
        embedded = self._embedded(read.clamp(min=0))
        first = read[..., :1] == NO_FRAME
        values, kept = torch.where(first, self.start, embedded), []
        for block, before in zip(
            self.blocks, past or [None] * LAYERS, strict=True
        ):
            values, after = block(values, before)
            kept.append(after)
        return self.norm(values), kept

    def logits(self, states: Tensor, coarser: Tensor) -> Tensor:
        """Logits of the next codebook's codes.

        Arguments
        ---------
        states : Tensor
            Of some frames, shape (..., width).
        coarser : Tensor
            Their codes of the first k codebooks, int64, shape (..., k).

        Returns
        -------
        Tensor
            Of codebook k, shape (..., V_k).
        """
        book = coarser.shape[-1]
        embedded = self._embedded(coarser) if book else states
        entries = self.embeddings[book].weight
        return self.heads[book](states, embedded, entries)

    def _embedded(self, codes: Tensor) -> Tensor:
        """Sum of the embeddings of the first codebooks' codes."""
        columns = zip(self.embeddings, codes.unbind(-1), strict=False)
        return sum(embedding(column) for embedding, column in columns)
