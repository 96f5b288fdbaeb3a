"""How far quantized features are from the features."""

import torch
from torch import Tensor


@torch.no_grad()
def relative_error(frames: Tensor, quantized: Tensor) -> Tensor:
    """Squared error relative to the energy of the frames; 0 of silence.

    Arguments
    ---------
    frames : Tensor
        What was quantized, shape (frame, channel).
    quantized : Tensor
        What it became, of the same shape.

    Returns
    -------
    Tensor
        A scalar, float32.

    Example
    -------
    >>> relative_error(torch.tensor([[3.0, 4.0]]), torch.tensor([[3.0, 3.0]]))
    tensor(0.0400)
    """
    error = (quantized - frames).square().sum()
    energy = frames.square().sum()
    ratio = error / torch.where(energy > 0, energy, 1.0)
    return torch.where(energy > 0, ratio, 0.0).float()
