"""Products of float32 matrices as fast as the processor can.

On CPUs, ``torch.matmul`` calls the Intel library that torch was built with,
which uses half of what other makers' processors can; the oneDNN library, which
torch brings too, is two to four times faster there and as fast elsewhere.
"""

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula


def fast_linear(
    values: Tensor, weight: Tensor, bias: Tensor | None = None
) -> Tensor:
    """Give ``values @ weight.T + bias``, without gradient.

    Arguments
    ---------
    values : Tensor
        float32, shape (row, in).
    weight : Tensor
        float32, shape (out, in).
    bias : Tensor | None
        float32, shape (out,). None: zero.

    Returns
    -------
    Tensor
        float32, shape (row, out).

    Example
    -------
    >>> fast_linear(torch.ones(2, 3), torch.ones(4, 3)).tolist()
    [[3.0, 3.0, 3.0, 3.0], [3.0, 3.0, 3.0, 3.0]]
    """
    if _ONEDNN and values.device.type == "cpu" and values.numel() > 0:
        # Of slices it makes a very slow product.
        if not (weight.is_contiguous() or weight.T.is_contiguous()):
            weight = weight.contiguous()
        return torch.ops.mkldnn._linear_pointwise(
            values.contiguous(), weight, bias, "none", [], ""
        )
    return torch.nn.functional.linear(values, weight, bias)


def _has_onednn() -> bool:
    # An operator of torch's compiler: later versions may call it otherwise.
    return torch.backends.mkldnn.is_available() and hasattr(
        torch.ops.mkldnn, "_linear_pointwise"
    )


def _operations(
    values: torch.Size, weight: torch.Size, *_: object, **__: object
) -> int:
    """Two operations a multiply-add, for torch's counter."""
    return 2 * values.numel() * weight[0]


_ONEDNN = _has_onednn()
if _ONEDNN:
    register_flop_formula(torch.ops.mkldnn._linear_pointwise)(_operations)
