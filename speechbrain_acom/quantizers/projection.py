"""Linear layers between many channels and few dimensions, without waste."""

import torch
from torch import Tensor

from speechbrain_acom.quantizers.products import fast_linear


def narrow_linear(linear: torch.nn.Linear, values: Tensor) -> Tensor:
    """Apply a linear layer whose backward pass suits narrow matrices.

    The gradient of a weight is the product of two long matrices. With the
    narrow one first it is up to eight times faster on a CPU than the other
    way round, which is what autograd takes where the output is wide.

    Arguments
    ---------
    linear : torch.nn.Linear
        A layer with bias.
    values : Tensor
        float32, shape (frame, linear.in_features).

    Returns
    -------
    Tensor
        float32, shape (frame, linear.out_features).

    Example
    -------
    >>> narrow_linear(torch.nn.Linear(2, 300), torch.ones(4, 2)).shape
    torch.Size([4, 300])
    """
    return _NarrowLinear.apply(values, linear.weight, linear.bias)


@torch.no_grad()
def bounded_linear(
    linear: torch.nn.Linear, values: Tensor
) -> tuple[Tensor, Tensor]:
    """Apply a linear layer in single precision and say how wrong it may be.

    Arguments
    ---------
    linear : torch.nn.Linear
        A layer with bias.
    values : Tensor
        Shape (frame, linear.in_features), any floating type.

    Returns
    -------
    tuple[Tensor, Tensor]
        The result, float32, shape (frame, linear.out_features), and a bound
        on the Euclidean distance of each row to the exact one, float64, shape
        (frame,): a sum of n terms errs by at most n u relative to the sum of
        their magnitudes (Higham, "Accuracy and Stability of Numerical
        Algorithms", 2002, section 3.1), whatever their order.

    Example
    -------
    >>> result, errors = bounded_linear(torch.nn.Linear(3, 2), torch.ones(4, 3))
    >>> bool((errors < 1e-5).all())
    True
    """
    values, weight, bias = values.float(), linear.weight, linear.bias
    result = fast_linear(values, weight, bias)
    single = torch.finfo(torch.float32)
    # The product, the bias and the rounding of the values.
    terms = values.shape[1] + 3
    lengths = torch.linalg.vector_norm(values, dim=1).double()
    # Squares too small for single precision are missing in it.
    lengths = lengths + (values.shape[1] * single.tiny) ** 0.5
    largest = weight.double().norm()
    magnitudes = largest * lengths + bias.double().norm()
    # A tenth for what is of second order and for the lengths themselves; and
    # numbers too small for single precision may be lost.
    lost = 4 * weight.numel() * single.tiny * (1 + largest + lengths)
    return result, 1.1 * terms * single.eps / 2 * magnitudes + lost


class _NarrowLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx, values: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(values, weight)
        return fast_linear(values, weight, bias)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        values, weight = ctx.saved_tensors
        of_values = None
        if ctx.needs_input_grad[0]:
            of_values = fast_linear(gradient, weight.T.contiguous())
        if weight.shape[0] > weight.shape[1]:
            of_weight = fast_linear(values.T, gradient.T).T
        else:
            of_weight = fast_linear(gradient.T, values.T)
        return of_values, of_weight, gradient.sum(0)
