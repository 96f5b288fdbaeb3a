"""Training the neural prior on codes."""

import copy
import math
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_
from tqdm import tqdm

from speechbrain_acom.context import Context
from speechbrain_acom.entropy.priors.attention import AttentionShape
from speechbrain_acom.entropy.priors.neural import NeuralPrior
from speechbrain_acom.entropy.priors.static import StaticPrior
from speechbrain_acom.quantizers.settings import (
    check_integer,
    check_share,
    check_weight,
)
from speechbrain_acom.training.context_network import ContextNetwork, freeze

# Frames of an utterance that are trained on as one sequence, at most.
PIECE_FRAMES = 256
# Pieces that are looked at together where nothing is learned.
BATCH = 32
# One utterance in so many says which epoch was best.
HELD_OUT = 10
# Share of the steps in which the learning rate rises.
WARM_UP = 0.1
# Of a step's gradient.
LARGEST_NORM = 1.0


def fit_neural_prior(
    codes: Iterable[np.ndarray],
    cardinalities: Sequence[int],
    recent_frames: int = 5,
    pooled_groups: int = 3,
    attention_heads: int = 4,
    head_dim: int = 16,
    key_frames: int = 3,
    attention_frames: int = 100,
    embedding_dim: int = 32,
    hidden_dim: int = 192,
    hidden_layers: int = 1,
    epochs: int = 40,
    patience: int = 5,
    batch_pieces: int = 16,
    learning_rate: float = 0.01,
    weight_decay: float = 1.0,
    dropout: float = 0.2,
    embedding_dropout: float = 0.2,
    seed: int = 0,
) -> NeuralPrior:
    """Train a context network on codes, and freeze it.

    One utterance in ten is held out; of the network before training, which
    is the static prior, and after every epoch, the one that codes them in the
    fewest bits is taken. The same call gives the same prior on the same
    machine.

    Arguments
    ---------
    codes : Iterable[np.ndarray]
        One integer array (frame, K) per training utterance.
    cardinalities : Sequence[int]
        Entries per codebook, coarse to fine.
    recent_frames, pooled_groups : int
        Past frames that are seen one by one, and groups of frames before
        them that are seen as sums; see ``Context``.
    attention_heads, head_dim, key_frames, attention_frames : int
        How frames look back to others by attention; see ``AttentionShape``.
        No heads: they do not.
    embedding_dim : int
        E, values that describe a code.
    hidden_dim, hidden_layers : int
        H, the width of a codebook's layers, and how many of them are from H
        to H.
    epochs, patience : int
        Passes over the codes; training ends early after so many without
        fewer bits on what was held out.
    batch_pieces : int
        Pieces of at most 256 frames a step.
    learning_rate, weight_decay : float
        Of AdamW; the learning rate rises in the first tenth of the steps and
        falls to zero along a cosine.
    dropout, embedding_dropout : float
        Probability that a hidden value or a frame looked back to, or a value
        of a frame's embedding, is left out.
    seed : int
        Of the start, the order and what is left out.

    Returns
    -------
    NeuralPrior
        The frozen network.

    Raises
    ------
    ConfigurationError
        If a size is out of range, or an array does not have K columns.
    BitstreamError
        If a code is not an entry of its codebook.
    DataError
        If there is not a single frame.
    """
    for key, value in (
        ("recent_frames", recent_frames),
        ("head_dim", head_dim),
        ("attention_frames", attention_frames),
        ("embedding_dim", embedding_dim),
        ("hidden_dim", hidden_dim),
        ("epochs", epochs),
        ("patience", patience),
        ("batch_pieces", batch_pieces),
    ):
        check_integer(key, value, 1)
    check_integer("pooled_groups", pooled_groups, 0)
    check_integer("hidden_layers", hidden_layers, 0)
    check_integer("attention_heads", attention_heads, 0)
    check_weight("learning_rate", learning_rate)
    check_weight("weight_decay", weight_decay)
    check_share("dropout", dropout)
    check_share("embedding_dropout", embedding_dropout)
    context = Context(recent_frames, pooled_groups)
    attention = None
    if attention_heads:
        check_integer("key_frames", key_frames, 1, recent_frames)
        attention = AttentionShape(
            attention_heads, head_dim, key_frames, attention_frames
        )
    utterances = list(codes)
    static = StaticPrior.fit(utterances, cardinalities)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = ContextNetwork(
            static,
            context,
            attention,
            embedding_dim=embedding_dim,
            hidden_dim=hidden_dim,
            hidden_layers=hidden_layers,
            dropout=dropout,
            embedding_dropout=embedding_dropout,
        ).to(device)
        train, held_out = (
            pieces_of(part, static.cardinalities, context)
            for part in _split(utterances)
        )
        optimizer = torch.optim.AdamW(
            network.parameters(), learning_rate, weight_decay=weight_decay
        )
        _train(
            network,
            optimizer,
            train,
            held_out,
            epochs=epochs,
            patience=patience,
            batch_pieces=batch_pieces,
        )
    return freeze(network)


def pieces_of(
    utterances: Sequence[np.ndarray],
    cardinalities: Sequence[int],
    context: Context,
) -> list[Tensor]:
    """Cut utterances into pieces, each behind a window of its past.

    Arguments
    ---------
    utterances : Sequence[np.ndarray]
        Codes, integer arrays (frame, K).
    cardinalities : Sequence[int]
        V_1..V_K; V_k stands for a frame outside the utterance.
    context : Context
        It tells the window.

    Returns
    -------
    list[Tensor]
        int64, each of shape (window + frame, K), of 256 frames or fewer.
    """
    outside = torch.tensor(cardinalities).expand(context.window, -1)
    pieces = []
    for utterance in utterances:
        codes = torch.from_numpy(np.asarray(utterance, dtype=np.int64))
        padded = torch.cat([outside, codes])
        # Of about the same length: less padding where they meet in a batch.
        count = math.ceil(len(codes) / PIECE_FRAMES)
        length = math.ceil(len(codes) / max(count, 1))
        for start in range(0, len(codes), max(length, 1)):
            stop = start + context.window + length
            pieces.append(padded[start:stop])
    return pieces


def stacked(pieces: Sequence[Tensor], network: ContextNetwork) -> Tensor:
    """Pieces as one batch.

    Arguments
    ---------
    pieces : Sequence[Tensor]
        Some of what :func:`pieces_of` gave.
    network : ContextNetwork
        It tells what stands for a frame outside an utterance, and the device.

    Returns
    -------
    Tensor
        int64, shape (piece, window + longest, K).
    """
    outside = torch.tensor([len(layers.bias) for layers in network.codebooks])
    shape = (len(pieces), max(map(len, pieces)), 1)
    batch = outside.repeat(shape)
    for row, piece in zip(batch, pieces, strict=True):
        row[: len(piece)] = piece
    return batch.to(network.embeddings[0].device)


@torch.no_grad()
def mean_bits(network: ContextNetwork, pieces: Sequence[Tensor]) -> float:
    """Bits a frame that a network spends, without dropout.

    Arguments
    ---------
    network : ContextNetwork
        The network; it is left in evaluation mode.
    pieces : Sequence[Tensor]
        What :func:`pieces_of` gave.

    Returns
    -------
    float
        Bits a frame, all codebooks together.
    """
    network.eval()
    # Those that are about as long together, to have little padding.
    order = sorted(pieces, key=len)
    bits = sum(
        network.bits(stacked(order[start : start + BATCH], network)).item()
        for start in range(0, len(order), BATCH)
    )
    window = network.context.window
    return bits / sum(len(piece) - window for piece in pieces)


def _split(utterances: list[np.ndarray]) -> tuple[list, list]:
    """Utterances to train on, and one in ten, at random, to watch.

    Of one utterance there is nothing to hold out: it is both.
    """
    filled = [utterance for utterance in utterances if len(utterance)]
    if len(filled) == 1:
        return filled, filled
    order = torch.randperm(len(filled)).tolist()
    count = math.ceil(len(filled) / HELD_OUT)
    watched = set(order[:count])
    return (
        [u for index, u in enumerate(filled) if index not in watched],
        [u for index, u in enumerate(filled) if index in watched],
    )


def _train(
    network: ContextNetwork,
    optimizer: torch.optim.Optimizer,
    train: list[Tensor],
    held_out: list[Tensor],
    epochs: int,
    patience: int,
    batch_pieces: int,
) -> None:
    """Train, and leave the network as it was best on what was held out."""
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        max_lr=optimizer.param_groups[0]["lr"],
        epochs=epochs,
        steps_per_epoch=math.ceil(len(train) / batch_pieces),
        pct_start=WARM_UP,
    )
    best = copy.deepcopy(network.state_dict())
    fewest, best_epoch = mean_bits(network, held_out), 0
    shown = tqdm(range(1, epochs + 1), desc="neural prior", delay=2)
    for epoch in shown:
        network.train()
        for chosen in torch.randperm(len(train)).split(batch_pieces):
            pieces = stacked([train[index] for index in chosen], network)
            optimizer.zero_grad()
            loss = network.bits(pieces) / network.count_frames(pieces)
            loss.backward()
            clip_grad_norm_(network.parameters(), LARGEST_NORM)
            optimizer.step()
            schedule.step()
        bits = mean_bits(network, held_out)
        shown.set_postfix_str(
            f"{bits:.3f} bit a frame, best {fewest:.3f}", refresh=False
        )
        if bits < fewest:
            best = copy.deepcopy(network.state_dict())
            fewest, best_epoch = bits, epoch
        elif epoch - best_epoch >= patience:
            break
    network.load_state_dict(best)
