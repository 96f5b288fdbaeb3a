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
    weight, bias = linear.weight.double(), linear.bias.double()
    return torch.nn.functional.linear(values.double(), weight, bias)


def single_precision_is_full(device: torch.device) -> bool:
    """Whether products of float32 matrices have all their 24 bits.

    They have not where TF32 or bfloat16 may take their place; SpeechBrain,
    for one, allows TF32 on GPUs.

    Arguments
    ---------
    device : torch.device
        Where the product is done.

    Returns
    -------
    bool
        False also where it is not known.

    Example
    -------
    >>> single_precision_is_full(torch.device("cpu"))
    True
    """
    backends = {"cpu": torch.backends.mkldnn, "cuda": torch.backends.cuda}
    products = getattr(backends.get(device.type), "matmul", None)
    # torch < 2.9 has one setting for all devices instead.
    precision = getattr(products, "fp32_precision", None)
    if precision is None:
        return torch.get_float32_matmul_precision() == "highest"
    return precision in ("none", "ieee")
