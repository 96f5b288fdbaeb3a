"""Training of the transformer, under the same rules as our neural prior.

Both get the same pieces of 256 frames or fewer, so many a step, a tenth of the
utterances to watch, the same schedule, number of epochs and patience.
"""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from frame_transformer import CONTEXT, NO_FRAME, FrameTransformer
from torch import Tensor, nn

from speechbrain_acom.training.neural_prior import (
    HELD_OUT,
    PIECE_FRAMES,
    WARM_UP,
)

# As many as hparams/priors/neural.yaml has a step.
BATCH_PIECES = 16
# The best of a dozen on the development part of digits: a peer at its best.
WEIGHT_DECAY = 1.0
LEARNING_RATE = 1e-2
# Of the gradient, at most.
NORM = 1.0
# A wanted code that is none: it stands there to be looked at only.
UNWANTED = -1


@dataclass(frozen=True)
class Fitted:
    """A trained transformer and how it was trained.

    Arguments
    ---------
    model : FrameTransformer
        With the weights of the best epoch.
    epochs : int
        Passes over the training codes that were made.
    held_out_bits : float
        Bits a code on the utterances that were watched, at the best epoch.
    """

    model: FrameTransformer
    epochs: int
    held_out_bits: float


@dataclass(frozen=True)
class Piece:
    """A part of an utterance to predict, behind frames to look at.

    Arguments
    ---------
    read : Tensor
        Codes of the frame before each, int64, shape (frame, K); -1 before
        the first one.
    wanted : Tensor
        Codes of each, int64, shape (frame, K); -1 where they are not wanted.
    """

    read: Tensor
    wanted: Tensor


def fit_transformer(
    codes: Sequence[np.ndarray],
    cardinalities: Sequence[int],
    parameters: int,
    epochs: int,
    patience: int,
    seed: int = 0,
    report: Callable[[str], None] = lambda line: None,
) -> Fitted:
    """Train one with tied and one with untied weights, and take the better.

    Arguments
    ---------
    codes : Sequence[np.ndarray]
        Integers, each of shape (frame, K).
    cardinalities : Sequence[int]
        Entries per codebook.
    parameters : int
        How many there should be, about.
    epochs, patience : int
        Passes at most, and how many in a row may save nothing on the tenth of
        the utterances that is held out.
    seed : int
        Of weights, order and choice of the held-out utterances.
    report : Callable[[str], None]
        Called with a line after each epoch.

    Returns
    -------
    Fitted
        The model, and the epoch, with the fewest bits on what was held out.
    """
    fits = []
    for name, tied in (("tied", True), ("untied", False)):
        torch.manual_seed(seed)
        model = FrameTransformer.of_size(cardinalities, parameters, tied)

        def said(line: str, name: str = name) -> None:
            report(f"{name} transformer, {line}")

        fits.append(_fit(model, codes, epochs, patience, said))
    return min(fits, key=lambda fitted: fitted.held_out_bits)


def pieces_of(
    codes: np.ndarray, piece_frames: int = PIECE_FRAMES
) -> list[Piece]:
    """Cut an utterance into pieces, each behind what comes before it.

    Arguments
    ---------
    codes : np.ndarray
        Integers, shape (frame, K).
    piece_frames : int
        Frames to predict, fewer in the last piece. With those to look at
        they are as many as attention reaches back, or the piece alone, where
        it is longer.

    Returns
    -------
    list[Piece]
        None if there is no frame.
    """
    rows = torch.from_numpy(np.asarray(codes, dtype=np.int64))
    before = nn.functional.pad(rows, (0, 0, 1, 0), value=NO_FRAME)
    pieces = []
    for start in range(0, len(rows), piece_frames):
        stop = min(start + piece_frames, len(rows))
        first = max(0, start - max(0, CONTEXT - piece_frames))
        wanted = rows[first:stop].clone()
        wanted[: start - first] = UNWANTED
        pieces.append(Piece(before[first:stop], wanted))
    return pieces


def _fit(
    model: FrameTransformer,
    codes: Sequence[np.ndarray],
    epochs: int,
    patience: int,
    report: Callable[[str], None],
) -> Fitted:
    """Train a model, and leave it as it was best on what was held out."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    _start_as_static(model, codes)
    model.to(device)
    watched, trained = _split(codes)
    optimizer = torch.optim.AdamW(
        model.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        max_lr=LEARNING_RATE,
        epochs=epochs,
        steps_per_epoch=math.ceil(len(trained) / BATCH_PIECES),
        pct_start=WARM_UP,
    )
    fewest, best_epoch = mean_bits(model, watched), 0
    weights = copy.deepcopy(model.state_dict())
    for epoch in range(1, epochs + 1):
        model.train()
        for chosen in torch.randperm(len(trained)).split(BATCH_PIECES):
            bits, count = _bits(model, [trained[index] for index in chosen])
            optimizer.zero_grad()
            (bits / count).backward()
            nn.utils.clip_grad_norm_(model.parameters(), NORM)
            optimizer.step()
            schedule.step()
        found = mean_bits(model, watched)
        report(f"epoch {epoch}: {found:.3f} bits a code on held-out codes")
        if found < fewest:
            fewest, best_epoch = found, epoch
            weights = copy.deepcopy(model.state_dict())
        elif epoch - best_epoch >= patience:
            break
    model.load_state_dict(weights)
    return Fitted(model.cpu().eval(), epoch, fewest)


def _split(codes: Sequence[np.ndarray]) -> tuple[list[Piece], list[Piece]]:
    """Whole utterances to watch, one in ten, and pieces of all others.

    Of one utterance there is nothing to hold out: it is both.
    """
    filled = [utterance for utterance in codes if len(utterance)]
    order = torch.randperm(len(filled)).tolist()
    count = math.ceil(len(filled) / HELD_OUT)
    trained = order[count:] or order
    watched = [
        piece
        for index in order[:count]
        for piece in pieces_of(filled[index], len(filled[index]))
    ]
    return watched, [
        piece for index in trained for piece in pieces_of(filled[index])
    ]


@torch.no_grad()
def _start_as_static(
    model: FrameTransformer, codes: Sequence[np.ndarray]
) -> None:
    """Let it give the shares of the training codes, whatever came before."""
    columns = np.concatenate(list(codes)).T
    for head, column in zip(model.heads, columns, strict=True):
        counts = np.bincount(column, minlength=len(head.bias)) + 0.5
        head.bias.copy_(torch.from_numpy(np.log(counts / counts.sum())))
        for weights in head.projection.parameters():
            weights.zero_()


@torch.no_grad()
def mean_bits(model: FrameTransformer, pieces: Sequence[Piece]) -> float:
    """Bits a code of pieces under a model, in evaluation mode.

    Arguments
    ---------
    model : FrameTransformer
        The model.
    pieces : Sequence[Piece]
        What :func:`pieces_of` gave.

    Returns
    -------
    float
        The mean over all codes that are wanted.
    """
    model.eval()
    sums = [
        _bits(model, pieces[start : start + BATCH_PIECES])
        for start in range(0, len(pieces), BATCH_PIECES)
    ]
    return float(sum(bits for bits, _ in sums)) / sum(n for _, n in sums)


def _bits(
    model: FrameTransformer, pieces: Sequence[Piece]
) -> tuple[Tensor, int]:
    """Bits of all wanted codes of a batch together, and how many they are."""
    pad = nn.utils.rnn.pad_sequence
    device = model.start.device
    read = pad([piece.read for piece in pieces], True, NO_FRAME).to(device)
    wanted = pad([each.wanted for each in pieces], True, UNWANTED).to(device)
    chosen = wanted[..., 0] != UNWANTED
    states, codes = model.states(read)[0][chosen], wanted[chosen]
    nats = sum(
        nn.functional.cross_entropy(
            model.logits(states, codes[:, :book]),
            codes[:, book],
            reduction="sum",
        )
        for book in range(codes.shape[1])
    )
    return nats / math.log(2), codes.numel()
