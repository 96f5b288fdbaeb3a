"""Learning what stands in the place of frames of codes that got lost.

One vector of the cut's channels is trained with the model's own task loss
while frames get lost at random; the model itself stays as it is. The device
half is not needed, for its codes do not change.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from tqdm import tqdm

from speechbrain_acom.errors import DataError
from speechbrain_acom.inference.concealment import VectorConcealment
from speechbrain_acom.lengths import relative_lengths
from speechbrain_acom.splits import Split
from speechbrain_acom.splits.modes import evaluation_mode

LARGEST_LOSS = 0.2
LONGEST_PACKET = 10
STEPS_PER_VALIDATION = 25

# Called with the head's output, its relative lengths, the padded targets and
# their relative lengths; gives a scalar, the mean over the batch.
TaskLoss: TypeAlias = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class CodedExample:
    """An utterance as it arrives without a loss, and the right answer.

    Arguments
    ---------
    codes : Tensor
        int64, shape (code frame, K).
    num_frames : int
        Frames at the cut, before merging.
    target : Tensor
        int64, shape (token,); a class is one token.
    """

    codes: Tensor
    num_frames: int
    target: Tensor


@dataclass(frozen=True)
class MaskVector:
    """A learned vector, and what it is good for.

    Arguments
    ---------
    vector : Tensor
        float32, shape (channel,), without a gradient.
    steps : int
        Steps after which the validation loss was lowest; 0: the vector that
        the learning started from was the best.
    valid_loss : float
        Task loss on the validation data with frames lost.
    start_valid_loss : float
        The same with the vector that the learning started from.
    """

    vector: Tensor
    steps: int
    valid_loss: float
    start_valid_loss: float


def learn_mask_vector(
    split: Split,
    train: Sequence[CodedExample],
    valid: Sequence[CodedExample],
    task_loss: TaskLoss,
    start: Tensor,
    steps: int = 300,
    batch_size: int = 16,
    learning_rate: float = 0.05,
    seed: int = 0,
) -> MaskVector:
    """Learn one vector that stands wherever a frame of codes got lost.

    Nothing of the model changes. In every step other frames are lost, see
    :func:`draw_loss`; in the validation always the same ones.

    Arguments
    ---------
    split : Split
        The trained model; its cloud half is enough.
    train : Sequence[CodedExample]
        What to learn from.
    valid : Sequence[CodedExample]
        Their loss says after how many steps to stop: it is looked at before
        the first, after every 25th and after the last.
    task_loss : TaskLoss
        The model's own.
    start : Tensor
        float32, shape (channel,), where the split is: what
        :func:`~speechbrain_acom.inference.concealment.mean_vector` gives.
    steps : int
        Steps of Adam. Larger: longer, and rarely better after a few hundred.
    batch_size : int
        Utterances a step. Larger: steadier, slower steps.
    learning_rate : float
        In units of the spread of the features around ``start``. Larger:
        faster, until the loss goes up and down.
    seed : int
        Of the choice of utterances and of lost frames.

    Returns
    -------
    MaskVector
        The vector with the smallest validation loss.

    Raises
    ------
    DataError
        If there are no examples to learn from, or none to validate with.
    ConfigurationError
        If runs of like frames are merged, see
        :class:`~speechbrain_acom.inference.concealment.Concealment`.
    """
    if not (train and valid):
        raise DataError(
            f"mask vector: found {len(train)} training and {len(valid)} "
            "validation examples, expected at least 1 of each"
        )
    generator = torch.Generator().manual_seed(seed)
    loss_of = partial(_loss, split, task_loss)
    # The same ones every time, so that vectors are compared in pairs.
    lost = [draw_loss(len(each.codes), generator) for each in valid]
    validated = partial(_mean_loss, loss_of, valid, lost, batch_size)
    offset = torch.zeros_like(start, requires_grad=True)
    optimizer = torch.optim.Adam([offset], lr=learning_rate)
    with evaluation_mode(split):
        spread, start_loss = _spread(split, train, start), validated(start)
        best = MaskVector(start.clone(), 0, start_loss, start_loss)
        for step in tqdm(range(1, steps + 1), "mask vector", disable=None):
            batch = _drawn(train, batch_size, generator)
            lost = [draw_loss(len(each.codes), generator) for each in batch]
            # Otherwise nothing depends on the vector.
            if any(mask.any() for mask in lost):
                loss = loss_of(batch, lost, start + spread * offset)
                # Not `backward`, which would leave gradients in the model.
                (offset.grad,) = torch.autograd.grad(loss, offset)
                optimizer.step()
            if step % STEPS_PER_VALIDATION == 0 or step == steps:
                vector = (start + spread * offset).detach()
                reached = validated(vector)
                if reached < best.valid_loss:
                    best = MaskVector(vector, step, reached, start_loss)
    return best


def draw_loss(code_frames: int, generator: torch.Generator) -> Tensor:
    """Which frames of codes of one utterance get lost.

    Packets of 1 to 10 frames are lost with a probability of 0 to 20 %, all
    of them equally likely.

    Arguments
    ---------
    code_frames : int
        Frames of codes of the utterance.
    generator : torch.Generator
        Draws packet size, probability and losses.

    Returns
    -------
    Tensor
        bool, shape (code frame,).
    """
    size = int(torch.randint(1, LONGEST_PACKET + 1, (), generator=generator))
    probability = LARGEST_LOSS * torch.rand((), generator=generator)
    packets = -(-code_frames // size)
    drawn = torch.rand(packets, generator=generator) < probability
    return drawn.repeat_interleave(size)[:code_frames]


def _drawn(
    examples: Sequence[CodedExample], count: int, generator: torch.Generator
) -> list[CodedExample]:
    """So many of the examples, at most, each once."""
    order = torch.randperm(len(examples), generator=generator)
    return [examples[number] for number in order[:count].tolist()]


def _loss(
    split: Split,
    task_loss: TaskLoss,
    examples: Sequence[CodedExample],
    lost: Sequence[Tensor],
    vector: Tensor,
) -> Tensor:
    """Task loss of a batch with the vector at lost frames."""
    concealment, device = VectorConcealment(vector), vector.device
    features, lengths = _padded(
        [
            concealment.features(
                split.bottleneck,
                each.codes.to(device),
                mask.to(device),
                each.num_frames,
            )[0]
            for each, mask in zip(examples, lost, strict=True)
        ]
    )
    targets, target_lengths = _padded(
        [each.target.to(device) for each in examples]
    )
    output = split.cloud(features, lengths)
    return task_loss(output, lengths, targets, target_lengths)


@torch.no_grad()
def _mean_loss(
    loss_of: Callable[..., Tensor],
    examples: Sequence[CodedExample],
    lost: Sequence[Tensor],
    batch_size: int,
    vector: Tensor,
) -> float:
    """Task loss of all examples with the vector at lost frames."""
    total = 0.0
    for first in range(0, len(examples), batch_size):
        batch = slice(first, first + batch_size)
        loss = loss_of(examples[batch], lost[batch], vector)
        total += float(loss) * len(examples[batch])
    return total / len(examples)


def _padded(sequences: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """A batch of sequences, zeros at its padding, and relative lengths."""
    padded = pad_sequence(sequences, batch_first=True)
    counts = torch.tensor(list(map(len, sequences)), device=padded.device)
    return padded, relative_lengths(counts, padded.shape[1])


@torch.no_grad()
def _spread(
    split: Split, examples: Sequence[CodedExample], center: Tensor
) -> float:
    """Root of the mean squared distance to the center, per channel."""
    total, frames = 0.0, 0
    for each in examples:
        codes = each.codes.to(center.device).unsqueeze(0)
        features = split.bottleneck.decode(codes, each.num_frames)
        total += float((features - center).square().mean(-1).sum())
        frames += each.num_frames
    return (total / frames) ** 0.5
