"""Frames of one rate brought to another one."""

import torch
from torch import Tensor

from speechbrain_acom.lengths import frame_counts


def align(
    values: Tensor, lengths: Tensor, frames: int, frame_lengths: Tensor
) -> Tensor:
    """Average or repeat frames, so that they lie beside those of another rate.

    The n real frames of an utterance are spread evenly over its m frames of
    the other rate: frame i is the mean of the frames that its part of the
    time, from i n / m to (i + 1) n / m, touches. What an utterance gives
    depends on n and m, but not on its padding.

    Arguments
    ---------
    values : Tensor
        Shape (batch, time, channel).
    lengths : Tensor
        Relative lengths of ``values``, shape (batch,).
    frames : int
        Frames that are wanted, padding included.
    frame_lengths : Tensor
        Relative lengths of what is wanted, shape (batch,).

    Returns
    -------
    Tensor
        float32, shape (batch, frames, channel), zero at padded frames.

    Example
    -------
    >>> values = torch.tensor([[[1.0], [3.0], [6.0], [8.0]]])
    >>> align(values, torch.ones(1), 2, torch.ones(1)).flatten().tolist()
    [2.0, 7.0]
    >>> align(values[:, :2], torch.ones(1), 4, torch.ones(1)).flatten().tolist()
    [1.0, 1.0, 3.0, 3.0]
    """
    wanted = values.new_empty(len(values), frames)
    given = frame_counts(lengths, values).unsqueeze(1)
    counts = frame_counts(frame_lengths, wanted).unsqueeze(1)
    steps = torch.arange(frames, device=values.device).unsqueeze(0)
    spread = counts.clamp(min=1)
    first = (steps * given // spread).clamp(max=values.shape[1])
    # Rounded up, so that every part touches a frame.
    last = -(-(steps + 1) * given // spread)
    last = last.clamp(max=values.shape[1])
    sums = torch.nn.functional.pad(values.double(), (0, 0, 1, 0)).cumsum(1)
    total = _chosen(sums, last) - _chosen(sums, first)
    means = total / (last - first).clamp(min=1).unsqueeze(-1)
    real = (steps < counts) & (given > 0)
    return means.float().masked_fill(~real.unsqueeze(-1), 0.0)


def _chosen(sums: Tensor, indices: Tensor) -> Tensor:
    """Rows (batch, step) of sums (batch, time, channel)."""
    indices = indices.unsqueeze(-1).expand(-1, -1, sums.shape[-1])
    return sums.gather(1, indices)
