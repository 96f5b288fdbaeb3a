"""A small k-means, to start codebooks from data."""

from collections.abc import Callable

import torch
from torch import Tensor

from speechbrain_acom.quantizers.nearest import nearest_entries

# Standard deviation of the noise on repeated frames, relative to the frames'.
JITTER = 0.01


@torch.no_grad()
def kmeans(
    frames: Tensor,
    size: int,
    iterations: int,
    search: Callable[[Tensor, Tensor], Tensor] = nearest_entries,
) -> Tensor:
    """Find centres of clusters by Lloyd's algorithm from random frames.

    Centres that lose all their frames restart at the frames that are farthest
    from their own centre. Random numbers are torch's, on the frames' device.

    Arguments
    ---------
    frames : Tensor
        Shape (frame, dimension), at least one frame.
    size : int
        Number of centres. Where it exceeds the number of frames, the rest is
        filled with copies of frames plus a little noise.
    iterations : int
        Passes over the frames.
    search : Callable[[Tensor, Tensor], Tensor]
        Gives the index of the centre (size, dimension) that each frame
        belongs to.

    Returns
    -------
    Tensor
        Centres, float64, shape (size, dimension).

    Example
    -------
    >>> frames = torch.tensor([[0.0], [0.2], [9.8], [10.0]])
    >>> kmeans(frames, size=2, iterations=5).sort(0).values.tolist()
    [[0.1...], [9.9...]]
    """
    frames = frames.double()
    clusters = min(size, len(frames))
    order = torch.randperm(len(frames), device=frames.device)
    centres = frames[order[:clusters]]
    for _ in range(iterations):
        centres = _improved(centres, frames, search)
    return torch.cat([centres, _jittered(frames, size - clusters)])


def _improved(
    centres: Tensor,
    frames: Tensor,
    search: Callable[[Tensor, Tensor], Tensor],
) -> Tensor:
    """One pass: means of the frames of every centre."""
    nearest = search(frames, centres)
    counts = torch.bincount(nearest, minlength=len(centres))
    sums = torch.zeros_like(centres).index_add_(0, nearest, frames)
    empty = counts == 0
    means = sums / counts.clamp(min=1).unsqueeze(1)
    distances = (frames - centres[nearest]).square().sum(1)
    farthest = distances.topk(int(empty.sum())).indices
    means[empty] = frames[farthest]
    return means


def _jittered(frames: Tensor, number: int) -> Tensor:
    """Random frames plus noise."""
    drawn = torch.randint(len(frames), (number,), device=frames.device)
    spread = frames.std(0, correction=0)
    noise = torch.randn_like(frames[drawn])
    return frames[drawn] + JITTER * spread * noise
