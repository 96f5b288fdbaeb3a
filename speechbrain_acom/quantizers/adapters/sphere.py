"""Directions, and k-means of them."""

import torch
from torch import Tensor
from torch.nn.functional import normalize

from speechbrain_acom.quantizers.kmeans import kmeans
from speechbrain_acom.quantizers.nearest import nearest_entries

# What is shorter has no direction but that of a matrix product's rounding,
# which depends on the batch.
SHORTEST = 1e-9


def directions(vectors: Tensor) -> Tensor:
    """Vectors brought to length one; zero where there is no direction.

    Arguments
    ---------
    vectors : Tensor
        Shape (..., dimension).

    Returns
    -------
    Tensor
        float64, of the same shape.

    Example
    -------
    >>> directions(torch.tensor([[3.0, 4.0], [0.0, 1e-12]])).tolist()
    [[0.6, 0.8], [0.0, 0.0]]
    """
    vectors = vectors.double()
    long = vectors.norm(dim=-1, keepdim=True) > SHORTEST
    return normalize(vectors, dim=-1) * long


@torch.no_grad()
def spherical_kmeans(frames: Tensor, size: int, iterations: int) -> Tensor:
    """Find centres of clusters by the angle between frames.

    Arguments
    ---------
    frames : Tensor
        Shape (frame, dimension), at least one frame; their lengths do not
        matter.
    size : int
        Number of centres.
    iterations : int
        Passes over the frames.

    Returns
    -------
    Tensor
        Centres of length one, float64, shape (size, dimension).

    Example
    -------
    >>> frames = torch.tensor([[0.0, 2.0], [0.0, 7.0], [3.0, 0.0]])
    >>> spherical_kmeans(frames, 2, iterations=5).sum(0).tolist()
    [1.0, 1.0]
    """
    centres = kmeans(directions(frames), size, iterations, _nearest_angle)
    return directions(centres)


def _nearest_angle(frames: Tensor, centres: Tensor) -> Tensor:
    return nearest_entries(frames, directions(centres))
