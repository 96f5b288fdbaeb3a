"""Search of the nearest entry of a codebook: fast, and certainly right.

Distances are computed in single precision first. A bound on their rounding
errors tells for which frames two entries are too close to call; only those
are searched again in double precision. So the answer is always that of the
search in double precision, whatever else is in the batch.
"""

import torch
from torch import Tensor

from speechbrain_acom.precision import single_precision_is_full
from speechbrain_acom.quantizers.products import fast_linear

# Distances at a time: on a CPU as many as its caches hold.
MOST_DISTANCES_ON_CPU = 2**19
MOST_DISTANCES = 2**24
# Entries are equally near if their distances differ by less than this many
# rounding errors of double precision, relative to the squared norms.
ROUNDING_ERRORS = 64
# From this number of entries on, the smallest distance is looked for in groups
# of entries first: the smallest of a group is fast, its index is not.
GROUPED_FROM = 512
# From this number on its index is found by marking it.
MARKED_FROM = 128


@torch.no_grad()
def nearest_entries(
    frames: Tensor, entries: Tensor, penalties: Tensor | None = None
) -> Tensor:
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
    penalties : Tensor | None
        What is added to the squared distances to each entry, from 0 on, shape
        (entry,), or (frame, entry) for frames that differ in it. None:
        nothing.

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
    offsets = _offsets(entries, penalties)
    if torch.compiler.is_exporting() or offsets.dim() == 2:
        # An exported graph cannot count chunks or frames that it has not seen;
        # where frames have penalties of their own, there are few of them.
        return _exact(frames.double(), entries.double(), offsets)
    if not single_precision_is_full(frames.device):
        return _exact_in_chunks(frames, entries, offsets)
    codes, uncertain = _fast(frames, entries, offsets)
    again = uncertain.nonzero().squeeze(1)
    if len(again) > 0:
        codes[again] = _exact_in_chunks(frames[again], entries, offsets)
    return codes


@torch.no_grad()
def likely_nearest_entries(
    frames: Tensor,
    errors: Tensor,
    entries: Tensor,
    penalties: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Search for frames that are known up to an error only.

    Arguments
    ---------
    frames : Tensor
        Shape (frame, dimension), any floating type.
    errors : Tensor
        Bound on the distance of each frame to what it should be, float64,
        shape (frame,).
    entries : Tensor
        As for :func:`nearest_entries`.
    penalties : Tensor | None
        As for :func:`nearest_entries`, shape (entry,).

    Returns
    -------
    tuple[Tensor, Tensor]
        Indices, int64, and whether each may be another than what
        :func:`nearest_entries` gives for the frame without error; (frame,).

    Example
    -------
    >>> frames, entries = torch.tensor([[0.4], [0.1]]), torch.eye(2)[:, :1]
    >>> likely_nearest_entries(frames, torch.full((2,), 0.1), entries)
    (tensor([1, 1]), tensor([ True, False]))
    """
    return _fast(frames, entries, _offsets(entries, penalties), errors)


def _offsets(entries: Tensor, penalties: Tensor | None) -> Tensor:
    """What |x - e|² has beside -2 x·e and |x|², which all entries share."""
    lengths = torch.linalg.vector_norm(entries, dim=1, dtype=torch.float64)
    offsets = lengths.square()
    return offsets if penalties is None else offsets + penalties


def _exact_in_chunks(
    frames: Tensor, entries: Tensor, offsets: Tensor
) -> Tensor:
    entries = entries.double()
    return torch.cat(
        [
            _exact(chunk.double(), entries, offsets)
            for chunk in frames.split(_frames_at_a_time(entries))
        ]
    )


def _exact(frames: Tensor, entries: Tensor, offsets: Tensor) -> Tensor:
    # The product of matrices is the whole cost, and being one it is seen by
    # counters of operations.
    distances = torch.addmm(offsets, frames, entries.T, alpha=-2)
    largest = offsets.amax(-1, keepdim=True)
    scale = frames.square().sum(1, keepdim=True) + largest
    tolerance = ROUNDING_ERRORS * torch.finfo(frames.dtype).eps * scale
    bound = distances.amin(1, keepdim=True) + tolerance
    return (distances <= bound).to(torch.uint8).argmax(1)


def _fast(
    frames: Tensor,
    entries: Tensor,
    offsets: Tensor,
    errors: Tensor | float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Codes by single precision, and whether each is uncertain."""
    queries, table, base = frames.float(), entries.float(), offsets.float()
    size, groups = len(entries), 1
    if size >= GROUPED_FROM:
        groups = 2 ** (size.bit_length() // 2)
        # Entries at infinity make the groups equally large.
        missing = -size % groups
        table = torch.nn.functional.pad(table, (0, 0, 0, missing))
        base = torch.nn.functional.pad(base, (0, missing), value=torch.inf)
    table = -2.0 * table
    found = [
        _two_smallest(fast_linear(chunk, table, base), groups)
        for chunk in queries.split(_frames_at_a_time(table))
    ]
    smallest, codes, second = map(torch.cat, zip(*found, strict=True))
    gap = second.double() - smallest.double()
    # Two entries are at most two lengths apart; their distances to a frame
    # change by twice that for each step of the frame.
    moved = 4.0 * offsets.max().sqrt() * errors
    certain = gap > _error_of_gaps(frames, offsets) + moved
    return codes, ~(certain & (smallest > -torch.inf))


def _two_smallest(
    values: Tensor, groups: int = 1
) -> tuple[Tensor, Tensor, Tensor]:
    """Smallest of each row, its index and the second smallest.

    Changes the values. With ``groups`` > 1 column j belongs to group
    j % (columns / groups).
    """
    if groups == 1:
        smallest, index = _smallest(values)
        values.scatter_(1, index.unsqueeze(1), torch.inf)
        return smallest, index, values.amin(1)
    grouped = values.unflatten(1, (groups, -1))
    _, group, others = _two_smallest(grouped.amin(1))
    chosen = group.reshape(-1, 1, 1).expand(-1, groups, 1)
    members = grouped.gather(2, chosen).squeeze(2)
    smallest, member, second = _two_smallest(members)
    index = member * grouped.shape[2] + group
    return smallest, index, torch.minimum(second, others)


def _smallest(values: Tensor) -> tuple[Tensor, Tensor]:
    """Smallest of each row and its index; of several equal ones, any index.

    ``values.min(1)`` looks at one number at a time, on a CPU; these passes
    look at many.
    """
    if values.shape[1] < MARKED_FROM:
        return values.min(1)
    smallest = values.amin(1)
    marks = torch.le(
        values, smallest.unsqueeze(1), out=torch.empty_like(values)
    )
    single = marks.sum(1) == 1
    places = torch.arange(values.shape[1], device=values.device)
    index = marks.mul_(places).sum(1)
    return smallest, torch.where(single, index, 0.0).long()


def _error_of_gaps(frames: Tensor, offsets: Tensor) -> Tensor:
    """Bound on the error of differences of distances, float64, (frame,).

    A product of D terms in single precision, of numbers that were rounded to
    it, plus an offset errs by at most (D + 2) (c + 2 |x| |e|) u + 4 |x| |e| u
    + c u and some u² (Higham, "Accuracy and Stability of Numerical
    Algorithms", 2002, section 3.1), in any order of the sum; twice that for a
    difference, and what double precision takes for equal. A tenth is added
    for the u², and what is too small for single precision may be lost.
    """
    dimension = frames.shape[1]
    single, double = torch.finfo(torch.float32), torch.finfo(torch.float64)
    lengths = torch.linalg.vector_norm(frames, dim=1, dtype=torch.float64)
    largest = offsets.max()
    # Entries are at most so long: offsets are their squares or more.
    products = lengths * largest.sqrt()
    rounding = (2 * dimension + 8) * products + (dimension + 3) * largest
    equal = ROUNDING_ERRORS * double.eps * (lengths.square() + largest)
    lost = 4 * dimension * single.tiny * (1 + lengths + largest.sqrt())
    return 1.1 * single.eps * rounding + 2 * equal + lost


def _frames_at_a_time(entries: Tensor) -> int:
    on_cpu = entries.device.type == "cpu"
    distances = MOST_DISTANCES_ON_CPU if on_cpu else MOST_DISTANCES
    return max(1, distances // len(entries))
