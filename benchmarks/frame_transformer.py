"""A causal transformer over frames of codes, and its training.

As the language model of EnCodec (Défossez et al., High fidelity neural audio
compression, 2022, section 3.3) it reads the codes of past frames, the sum of
an embedding a codebook, and gives the probabilities of all K codes of the
next frame at once, by K heads. Two things differ, in its favour on short
recordings: attention weighs frames by their distance (Press et al., Train
short, test long, 2021) instead of adding sinusoids, and training stops early.
"""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

LAYERS, HEADS = 2, 4
# Frames that attention reaches back: 4 s at 25 frames/s, EnCodec's has 3.5 s.
CONTEXT = 100
# The best of a dozen on the development part of digits: a peer at its best.
DROPOUT = 0.2
WEIGHT_DECAY = 1.0
LEARNING_RATE = 1e-2
# Share of the steps in which the learning rate rises.
WARM_UP = 0.1
BATCH_SIZE = 16
# Epochs without a better held-out loss after which training ends.
PATIENCE = 5
# Of the training utterances, the part that early stopping watches.
HELD_OUT = 10

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


class FrameTransformer(nn.Module):
    """Logits of the codes of each frame from the frames before it.

    Arguments
    ---------
    cardinalities : Sequence[int]
        Entries per codebook.
    width : int
        Channels, a multiple of the heads. Larger: more parameters.
    hidden : int
        Channels between the two linear layers of a block.
    """

    def __init__(
        self, cardinalities: Sequence[int], width: int, hidden: int
    ) -> None:
        super().__init__()
        self.cardinalities = tuple(cardinalities)
        self.width, self.hidden = width, hidden
        self.start = nn.Parameter(torch.zeros(width))
        self.embeddings = nn.ModuleList(
            [nn.Embedding(size, width) for size in self.cardinalities]
        )
        self.blocks = nn.ModuleList(
            [Block(width, hidden) for _ in range(LAYERS)]
        )
        self.norm = nn.LayerNorm(width)
        self.heads = nn.ModuleList(
            [nn.Linear(width, size) for size in self.cardinalities]
        )
        for embedding in self.embeddings:
            nn.init.normal_(embedding.weight, std=width**-0.5)

    @classmethod
    def of_size(
        cls, cardinalities: Sequence[int], parameters: int
    ) -> "FrameTransformer":
        """The one whose number of parameters is nearest to a given one.

        Arguments
        ---------
        cardinalities : Sequence[int]
            Entries per codebook.
        parameters : int
            How many there should be.

        Returns
        -------
        FrameTransformer
            With random weights.
        """
        width, hidden = HEADS, 1
        with torch.device("meta"):
            while True:
                wider = width + HEADS
                if _size(cls(cardinalities, wider, 4 * wider)) > parameters:
                    break
                width = wider
            # What is left over goes between the linear layers.
            least = _size(cls(cardinalities, width, hidden))
        per_channel = LAYERS * (2 * width + 1)
        hidden += max(0, round((parameters - least) / per_channel))
        return cls(cardinalities, width, hidden)

    def forward(self, codes: Tensor) -> list[Tensor]:
        """Logits of every frame of a padded batch.

        Arguments
        ---------
        codes : Tensor
            int64, shape (batch, time, K).

        Returns
        -------
        list[Tensor]
            K tensors, shape (batch, time, V_k).
        """
        start = self.start.expand(len(codes), 1, -1)
        read = torch.cat([start, self._embedded(codes[:, :-1])], dim=1)
        return self._logits(read, [None] * LAYERS)[0]

    def following(
        self, frame: Sequence[int] | None, past: Cache | None
    ) -> tuple[list[Tensor], Cache]:
        """Logits of the frame after one frame, shape (V_k,) each.

        Arguments
        ---------
        frame : Sequence[int] | None
            K codes; None: the frame wanted is the first.
        past : Cache | None
            What the call before gave; None with the first frame.

        Returns
        -------
        tuple[list[Tensor], Cache]
            Logits, and what to give to the next call.
        """
        if frame is None:
            read = self.start.view(1, 1, -1)
        else:
            read = self._embedded(torch.tensor(frame).view(1, 1, -1))
        logits, past = self._logits(read, past or [None] * LAYERS)
        return [each[0, 0] for each in logits], past

    def _embedded(self, codes: Tensor) -> Tensor:
        columns = zip(self.embeddings, codes.unbind(-1), strict=True)
        return sum(embedding(column) for embedding, column in columns)

    def _logits(
        self, values: Tensor, past: Sequence[tuple[Tensor, Tensor] | None]
    ) -> tuple[list[Tensor], Cache]:
        kept = []
        for block, before in zip(self.blocks, past, strict=True):
            values, after = block(values, before)
            kept.append(after)
        values = self.norm(values)
        return [head(values) for head in self.heads], kept


@dataclass(frozen=True)
class Fitted:
    """A trained transformer and how it was trained.

    Arguments
    ---------
    model : FrameTransformer
        With the weights of the best epoch.
    parameters : int
        Trained weights.
    epochs : int
        Passes over the training codes that were made.
    """

    model: FrameTransformer
    parameters: int
    epochs: int


def fit_transformer(
    codes: Sequence[np.ndarray],
    cardinalities: Sequence[int],
    parameters: int,
    epochs: int,
    seed: int = 0,
    report: Callable[[str], None] = lambda line: None,
) -> Fitted:
    """Train on nine tenths of the utterances, stop early by the last tenth.

    Arguments
    ---------
    codes : Sequence[np.ndarray]
        Integers, each of shape (frame, K); at least two.
    cardinalities : Sequence[int]
        Entries per codebook.
    parameters : int
        How many there should be, about.
    epochs : int
        Passes at most.
    seed : int
        Of weights, order and choice of the held-out utterances.
    report : Callable[[str], None]
        Called with a line after each epoch.

    Returns
    -------
    Fitted
        The model of the epoch with the smallest held-out loss.
    """
    torch.manual_seed(seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = FrameTransformer.of_size(cardinalities, parameters)
    _start_as_static(model, codes)
    model.to(device)
    order = torch.randperm(len(codes)).tolist()
    held_out = max(1, len(codes) // HELD_OUT)
    tensors = [
        torch.from_numpy(codes[index]).long().to(device) for index in order
    ]
    watched, trained = tensors[:held_out], tensors[held_out:]
    steps = epochs * math.ceil(len(trained) / BATCH_SIZE)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: (
            min(1.0, (step + 1) / (WARM_UP * steps))
            * (1 + math.cos(math.pi * step / steps))
            / 2
        ),
    )
    best, best_epoch, weights = math.inf, 0, model.state_dict()
    for epoch in range(1, epochs + 1):
        for batch in torch.randperm(len(trained)).split(BATCH_SIZE):
            model.train()
            bits, count = _bits(model, [trained[index] for index in batch])
            optimizer.zero_grad()
            (bits / count).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
        loss = mean_bits(model, watched)
        report(f"epoch {epoch}: {loss:.3f} bits a code on held-out codes")
        if loss < best:
            best, best_epoch = loss, epoch
            weights = copy.deepcopy(model.state_dict())
        if epoch - best_epoch >= PATIENCE:
            break
    model.load_state_dict(weights)
    return Fitted(model.cpu().eval(), _size(model), epoch)


@torch.no_grad()
def _start_as_static(
    model: FrameTransformer, codes: Sequence[np.ndarray]
) -> None:
    """Let it give the shares of the training codes, whatever came before."""
    columns = np.concatenate(list(codes)).T
    for head, column in zip(model.heads, columns, strict=True):
        counts = np.bincount(column, minlength=head.out_features) + 0.5
        head.bias.copy_(torch.from_numpy(np.log(counts / counts.sum())))
        head.weight.zero_()


@torch.no_grad()
def mean_bits(model: FrameTransformer, codes: Sequence[Tensor]) -> float:
    """Bits a code of utterances under a model, in evaluation mode.

    Arguments
    ---------
    model : FrameTransformer
        The model.
    codes : Sequence[Tensor]
        int64, each of shape (frame, K).

    Returns
    -------
    float
        The mean over all codes.
    """
    model.eval()
    sums = [
        _bits(model, codes[start : start + BATCH_SIZE])
        for start in range(0, len(codes), BATCH_SIZE)
    ]
    return float(sum(bits for bits, _ in sums)) / sum(n for _, n in sums)


def _bits(
    model: FrameTransformer, codes: Sequence[Tensor]
) -> tuple[Tensor, int]:
    """Bits of all codes of a batch together, and how many they are."""
    ignored = -1
    padded = nn.utils.rnn.pad_sequence(codes, True, padding_value=ignored)
    logits = model(padded.clamp(min=0))
    nats = sum(
        nn.functional.cross_entropy(
            each.flatten(0, 1),
            column.flatten(),
            ignore_index=ignored,
            reduction="sum",
        )
        for each, column in zip(logits, padded.unbind(-1), strict=True)
    )
    return nats / math.log(2), sum(each.numel() for each in codes)


def _size(model: nn.Module) -> int:
    return sum(weights.numel() for weights in model.parameters())
