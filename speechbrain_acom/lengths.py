"""Relative lengths, as everywhere in SpeechBrain, turned into frames."""

import torch
from torch import Tensor


def frame_counts(lengths: Tensor | None, values: Tensor) -> Tensor:
    """Number of real frames of every utterance in a padded batch.

    Arguments
    ---------
    lengths : Tensor | None
        Relative lengths in [0, 1], shape (batch,). None means no padding.
    values : Tensor
        The padded batch, shape (batch, time, ...).

    Returns
    -------
    Tensor
        Integers, shape (batch,), on the device of ``values``.

    Example
    -------
    >>> frame_counts(torch.tensor([0.5, 1.0]), torch.zeros(2, 8, 3)).tolist()
    [4, 8]
    """
    batch, frames = values.shape[:2]
    if lengths is None:
        return torch.full((batch,), frames, device=values.device)
    return torch.round(lengths.to(values.device).float() * frames).long()


def frame_mask(lengths: Tensor | None, values: Tensor) -> Tensor:
    """True where a frame is real, False where it is padding.

    Arguments
    ---------
    lengths : Tensor | None
        Relative lengths in [0, 1], shape (batch,). None means no padding.
    values : Tensor
        The padded batch, shape (batch, time, ...).

    Returns
    -------
    Tensor
        Booleans, shape (batch, time).

    Example
    -------
    >>> frame_mask(torch.tensor([0.5, 1.0]), torch.zeros(2, 2, 3)).tolist()
    [[True, False], [True, True]]
    """
    steps = torch.arange(values.shape[1], device=values.device)
    return steps.unsqueeze(0) < frame_counts(lengths, values).unsqueeze(1)


def relative_lengths(counts: Tensor, frames: int) -> Tensor:
    """Turn numbers of frames back into relative lengths.

    Arguments
    ---------
    counts : Tensor
        Number of real frames, shape (batch,).
    frames : int
        Number of frames of the padded batch.

    Returns
    -------
    Tensor
        Relative lengths in [0, 1], shape (batch,), float32.

    Example
    -------
    >>> relative_lengths(torch.tensor([4, 8]), 8).tolist()
    [0.5, 1.0]
    """
    return counts.float() / max(frames, 1)
