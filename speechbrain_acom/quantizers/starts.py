"""What quantizers share that start from data: frames, axes, linear maps."""

from dataclasses import dataclass

import torch
from torch import Tensor

from speechbrain_acom.errors import DataError

MOST_INITIAL_FRAMES = 100_000
# Along an axis, deviations below this part of the largest one are rounding.
LEAST_DEVIATION = 1e-6
# Singular values below this part of the largest one are noise.
LEAST_SINGULAR_VALUE = 1e-7


@dataclass(frozen=True)
class PrincipalAxes:
    """Directions of most variance.

    Arguments
    ---------
    mean : Tensor
        float64, shape (channel,).
    vectors : Tensor
        Orthonormal columns, the direction of most variance first, float64,
        shape (channel, axis).
    deviations : Tensor
        Standard deviation along each of them, float64, shape (axis,).
    """

    mean: Tensor
    vectors: Tensor
    deviations: Tensor


def initial_frames(frames: Tensor) -> Tensor:
    """Frames to start a quantizer from.

    Arguments
    ---------
    frames : Tensor
        Real frames, shape (frame, channel).

    Returns
    -------
    Tensor
        At most 100 000 random ones of them, float64.

    Raises
    ------
    DataError
        If there is no frame.

    Example
    -------
    >>> initial_frames(torch.ones(3, 2)).dtype
    torch.float64
    """
    if len(frames) == 0:
        raise DataError(
            "frames to start the quantizer from: found 0, expected at "
            "least 1; check that the training recordings are not empty"
        )
    order = torch.randperm(len(frames), device=frames.device)
    return frames[order[:MOST_INITIAL_FRAMES]].double()


def principal_axes(frames: Tensor, number: int) -> PrincipalAxes:
    """The directions in which frames vary most.

    Arguments
    ---------
    frames : Tensor
        Shape (frame, channel), at least one frame.
    number : int
        Axes to keep, from 1 to channel.

    Returns
    -------
    PrincipalAxes
        Mean, axes and deviations.

    Example
    -------
    >>> axes = principal_axes(torch.tensor([[0.0, 3.0], [0.0, -1.0]]), 1)
    >>> axes.mean.tolist(), axes.deviations.tolist()
    ([0.0, 1.0], [2.0])
    """
    frames = frames.double()
    mean = frames.mean(0)
    centred = frames - mean
    # Eigenvalues come in ascending order: the last ones matter most.
    variances, vectors = torch.linalg.eigh(centred.T @ centred / len(frames))
    return PrincipalAxes(
        mean,
        vectors.flip(1)[:, :number],
        variances.flip(0)[:number].clamp(min=0.0).sqrt(),
    )


def least_squares(values: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """The linear layer that comes nearest to targets from values.

    Of equally good ones the smallest: where values do not vary, their
    weights are zero.

    Arguments
    ---------
    values : Tensor
        Shape (frame, input), at least one frame.
    targets : Tensor
        Shape (frame, output).

    Returns
    -------
    tuple[Tensor, Tensor]
        Weight (output, input) and bias (output,), float64.

    Example
    -------
    >>> values = torch.tensor([[0.0], [1.0], [2.0]])
    >>> weight, bias = least_squares(values, 3 * values + 1)
    >>> round(weight.item(), 6), round(bias.item(), 6)
    (3.0, 1.0)
    """
    values, targets = values.double(), targets.double()
    mean, target_mean = values.mean(0), targets.mean(0)
    centred = values - mean
    inverse = torch.linalg.pinv(centred, rtol=LEAST_SINGULAR_VALUE)
    weight = (inverse @ (targets - target_mean)).T
    return weight, target_mean - weight @ mean
