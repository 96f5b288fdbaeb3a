"""Search of the nearest entry of a codebook: fast, and certainly right.

Distances are computed in single precision first. A bound on their rounding
errors tells for which frames two entries are too close to call; only those
are searched again in double precision. So the answer is always that of the
search in double precision, whatever else is in the batch.
"""

from collections.abc import Iterator

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
# of entries first, so that few bits are enough to number what is compared.
GROUPED_FROM = 4096
# Up to this number of dimensions a product of matrices waits for memory, and is
# faster where all chunks share theirs; beyond, the better multiplication wins.
NARROW = 16
# Farther than anything else, and finite: infinity with other last bits is not a
# number.
FAR = torch.finfo(torch.float32).max / 2


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
    size, groups = len(entries), 1
    lengths = torch.linalg.vector_norm(frames, dim=1, dtype=torch.float64)
    equal = _equally_near(lengths, offsets)
    # Seen from the middle of the entries everything is shorter, and so are the
    # errors.
    frames, entries, offsets = _centred(frames, entries, offsets)
    table, base = -2.0 * entries.float(), offsets.float()
    if size >= GROUPED_FROM:
        groups = 2 ** (size.bit_length() // 2)
        # Entries far away make the groups equally large.
        missing = -size % groups
        table = torch.nn.functional.pad(table, (0, 0, 0, missing))
        base = torch.nn.functional.pad(base, (0, missing), value=FAR)
    found = [
        _two_smallest(chunk, groups)
        for chunk in _distances(frames.float(), table, base)
    ]
    smallest, codes, second = map(torch.cat, zip(*found, strict=True))
    smallest, second = smallest.double(), second.double()
    # Two entries are at most two lengths apart; their distances to a frame
    # change by twice that for each step of the frame.
    moved = 4.0 * offsets.max().sqrt() * errors
    # A group and its members are numbered one after the other; the error of the
    # wider numbers is that of both, for they replace the same last bits.
    numbered = _error_of_numbers(max(groups, len(table) // groups))
    doubt = _error_of_gaps(frames, offsets) + 2 * equal + moved
    doubt = doubt + numbered * (smallest.abs() + second.abs())
    # Of what is not a number, or infinite, nothing is certain.
    certain = (second - smallest > doubt) & (codes < size)
    return codes.clamp(max=size - 1), ~certain


def _centred(
    frames: Tensor, entries: Tensor, offsets: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The same distances, seen from the middle of the entries."""
    entries = entries.double()
    lengths = torch.linalg.vector_norm(entries, dim=1)
    middle = entries.mean(0)
    entries = entries - middle
    centred = torch.linalg.vector_norm(entries, dim=1)
    penalties = offsets - lengths.square()
    return frames - middle, entries, centred.square() + penalties


def _distances(frames: Tensor, table: Tensor, base: Tensor) -> Iterator[Tensor]:
    """Chunks of ``frames @ table.T + base``, each good until the next."""
    rows = _frames_at_a_time(table)
    if frames.shape[1] > NARROW:
        for chunk in frames.split(rows):
            yield fast_linear(chunk, table, base)
        return
    values = frames.new_empty(min(rows, len(frames)), len(table))
    for chunk in frames.split(rows):
        yield torch.addmm(base, chunk, table.T, out=values[: len(chunk)])


def _two_smallest(
    values: Tensor, groups: int = 1
) -> tuple[Tensor, Tensor, Tensor]:
    """Smallest of each row, its index and the second smallest.

    Changes the values, by :func:`_error_of_numbers`. With ``groups`` > 1
    column j belongs to group j % (columns / groups).
    """
    if groups == 1:
        smallest, index = _smallest(values)
        values.scatter_(1, index.unsqueeze(1), 2 * FAR)
        return smallest, index, values.amin(1)
    grouped = values.unflatten(1, (groups, -1))
    _, group, others = _two_smallest(grouped.amin(1))
    chosen = group.reshape(-1, 1, 1).expand(-1, groups, 1)
    members = grouped.gather(2, chosen).squeeze(2)
    smallest, member, second = _two_smallest(members)
    index = member * grouped.shape[2] + group
    return smallest, index, torch.minimum(second, others)


def _smallest(values: Tensor) -> tuple[Tensor, Tensor]:
    """Smallest of each row and its index; of nearly equal ones, any index.

    ``values.min(1)`` looks at one number at a time, on a CPU. Where the last
    bits of each number are the number of its column, ``amin``, which looks at
    many, finds both.
    """
    last = values.shape[1] - 1
    mask = _number_mask(values.shape[1])
    columns = torch.arange(last + 1, dtype=torch.int32, device=values.device)
    values.view(torch.int32).bitwise_and_(~mask).bitwise_or_(columns)
    smallest = values.amin(1)
    # What is not a number may have any bits.
    index = (smallest.view(torch.int32) & mask).clamp(max=last)
    return smallest, index.long()


def _number_mask(columns: int) -> int:
    return 2 ** (columns - 1).bit_length() - 1


def _error_of_numbers(columns: int) -> float:
    """Bound on the relative error of values whose last bits are numbers."""
    return _number_mask(columns) * torch.finfo(torch.float32).eps


def _error_of_gaps(frames: Tensor, offsets: Tensor) -> Tensor:
    """Bound on the error of differences of distances, float64, (frame,).

    A product of D terms in single precision, of numbers that were rounded to
    it, plus an offset errs by at most (D + 2) (c + 2 |x| |e|) u + 4 |x| |e| u
    + c u and some u² (Higham, "Accuracy and Stability of Numerical
    Algorithms", 2002, section 3.1), in any order of the sum; twice that for a
    difference. A tenth is added for the u², and what is too small for single
    precision may be lost.
    """
    dimension, single = frames.shape[1], torch.finfo(torch.float32)
    lengths = torch.linalg.vector_norm(frames, dim=1, dtype=torch.float64)
    largest = offsets.max()
    # Entries are at most so long: offsets are their squares or more.
    products = lengths * largest.sqrt()
    rounding = (2 * dimension + 8) * products + (dimension + 3) * largest
    lost = 4 * dimension * single.tiny * (1 + lengths + largest.sqrt())
    return 1.1 * single.eps * rounding + lost


def _equally_near(lengths: Tensor, offsets: Tensor) -> Tensor:
    """What the search in double precision takes for equal, (frame,)."""
    double = torch.finfo(torch.float64)
    return ROUNDING_ERRORS * double.eps * (lengths.square() + offsets.max())


def _frames_at_a_time(entries: Tensor) -> int:
    on_cpu = entries.device.type == "cpu"
    distances = MOST_DISTANCES_ON_CPU if on_cpu else MOST_DISTANCES
    return max(1, distances // len(entries))
