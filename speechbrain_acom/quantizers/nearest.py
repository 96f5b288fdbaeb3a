"""Search of the nearest entry of a codebook."""

import torch
from torch import Tensor

# Frames are searched in chunks, so that the distances of long batches to
# large codebooks stay below 128 MiB.
MOST_DISTANCES = 2**24
# Entries are equally near if their distances differ by less than this many
# rounding errors, relative to the squared norms.
ROUNDING_ERRORS = 64


@torch.no_grad()
def nearest_entries(frames: Tensor, entries: Tensor) -> Tensor:
    """Index of the nearest entry of every frame, by Euclidean distance.

    Of equally near entries the first is taken. Without that rule two equal
    entries would win in turn, because the rounding of a matrix product
    depends on its shape and on the column.

    Arguments
    ---------
    frames : Tensor
        Shape (frame, dimension), any floating type.
    entries : Tensor
        Shape (entry, dimension), any floating type.

    Returns
    -------
    Tensor
        Indices, int64, shape (frame,).

    Example
    -------
    >>> entries = torch.tensor([[0.0, 0.0], [1.0, 1.0], [1.0, 1.0]])
    >>> nearest_entries(torch.tensor([[0.9, 0.8], [0.1, 0.0]]), entries)
    tensor([1, 0])
    """
    frames, entries = frames.double(), entries.double()
    norms = entries.square().sum(1)
    chunks = frames.split(max(1, MOST_DISTANCES // len(entries)))
    return torch.cat([_nearest(chunk, entries, norms) for chunk in chunks])


def _nearest(frames: Tensor, entries: Tensor, norms: Tensor) -> Tensor:
    # |x - e|² without |x|², which all entries share. The product of matrices
    # is the whole cost, and being one it is seen by counters of operations.
    distances = torch.addmm(norms, frames, entries.T, alpha=-2)
    scale = frames.square().sum(1, keepdim=True) + norms.max()
    tolerance = ROUNDING_ERRORS * torch.finfo(frames.dtype).eps * scale
    bound = distances.amin(1, keepdim=True) + tolerance
    return (distances <= bound).to(torch.uint8).argmax(1)
