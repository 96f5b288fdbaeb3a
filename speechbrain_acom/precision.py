"""Arithmetic that does not depend on the shape of the batch.

A matrix product in single precision rounds differently for one utterance and
for a batch of them, because other kernels are chosen: the last bits of up to
a tenth of the frames change, and a frame halfway between two entries of a
codebook may then change its code. In double precision the difference is a
billion times smaller. Automatic mixed precision leaves double precision
alone, so nothing here falls to half precision either.
"""

import torch
from torch import Tensor


def precise_linear(linear: torch.nn.Linear, values: Tensor) -> Tensor:
    """Apply a linear layer in double precision.

    Arguments
    ---------
    linear : torch.nn.Linear
        A layer with bias.
    values : Tensor
        Any floating type, shape (..., linear.in_features).

    Returns
    -------
    Tensor
        float64, shape (..., linear.out_features).

    Example
    -------
    >>> precise_linear(torch.nn.Linear(3, 2), torch.ones(4, 3)).dtype
    torch.float64
    """
    return torch.nn.functional.linear(
        values.double(), linear.weight.double(), linear.bias.double()
    )
