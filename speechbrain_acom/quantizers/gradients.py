"""Gradients past a step that has none: from quantized values to the values."""

import torch
from torch import Tensor

# Values shorter than this part of what they are quantized to count as zero:
# they have no direction to rotate from.
SHORTEST = 1e-6


def straight_through(values: Tensor, quantized: Tensor) -> Tensor:
    """Quantized values with the gradient of the values.

    Arguments
    ---------
    values : Tensor
        What was quantized, any shape; it receives the gradient unchanged.
    quantized : Tensor
        Of the same shape; it receives no gradient.

    Returns
    -------
    Tensor
        ``quantized``, bit for bit.

    Example
    -------
    >>> values = torch.tensor([0.4, 1.7], requires_grad=True)
    >>> straight_through(values, values.round()).square().sum().backward()
    >>> values.grad.tolist()
    [0.0, 4.0]
    """
    return _StraightThrough.apply(values, quantized.detach())


def rotation(values: Tensor, quantized: Tensor) -> Tensor:
    """Quantized values whose gradient is rotated and scaled to the values.

    The rotation trick of Fifty et al., "Restructuring Vector Quantization
    with the Rotation Trick", 2024, section 4: the quantized vector is read as
    the vector, rotated in the plane of both and scaled, with rotation and
    scale held constant. So the gradient keeps its angle to the quantized
    vector, and vectors of one cell are pushed apart or together. Where a
    vector is zero the gradient passes straight through.

    Arguments
    ---------
    values : Tensor
        What was quantized, vectors along the last axis; they receive the
        gradient.
    quantized : Tensor
        Of the same shape; it receives no gradient.

    Returns
    -------
    Tensor
        ``quantized``, bit for bit.

    Example
    -------
    >>> values = torch.tensor([[1.0, 0.0]], requires_grad=True)
    >>> rotation(values, torch.tensor([[0.0, 2.0]]))[0, 1].backward()
    >>> values.grad.round(decimals=3).tolist()
    [[2.0, 0.0]]
    """
    return _Rotation.apply(values, quantized.detach())


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx, values: Tensor, quantized: Tensor) -> Tensor:
        return quantized.view_as(quantized)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None


class _Rotation(torch.autograd.Function):
    @staticmethod
    def forward(ctx, values: Tensor, quantized: Tensor) -> Tensor:
        ctx.save_for_backward(values, quantized)
        return quantized.view_as(quantized)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        values, quantized = ctx.saved_tensors
        lengths = values.norm(dim=-1, keepdim=True)
        targets = quantized.norm(dim=-1, keepdim=True)
        start = _directions(values)
        end = _directions(quantized)
        middle = _directions(start + end)
        # Equation 4 of the paper, transposed and applied to the gradient.
        rotated = (
            gradient
            - 2.0 * middle * _products(middle, gradient)
            + 2.0 * start * _products(end, gradient)
        )
        directed = lengths > SHORTEST * targets
        scaled = rotated * (targets / torch.where(directed, lengths, 1.0))
        return torch.where(directed, scaled, gradient), None


def _directions(vectors: Tensor) -> Tensor:
    """Vectors of length one; zero stays zero."""
    return torch.nn.functional.normalize(vectors, dim=-1, eps=1e-30)


def _products(first: Tensor, second: Tensor) -> Tensor:
    return (first * second).sum(-1, keepdim=True)
