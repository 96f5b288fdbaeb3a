"""Small quantizers that code what they decode as the codes that it came from.

Projections are identities, and every stage is so much finer than the one
before it that a search from coarse to fine cannot go wrong.
"""

import itertools
import math

import torch

CORNERS = torch.tensor([[1.0, 1], [1, -1], [-1, 1], [-1, -1]])
# The first stage's corners, and how much smaller they are in the next one. The
# last of three is still larger than what any lobe pays for bits.
COARSEST = 256.0
FINER = 1 / 16
MOST_CODES = 2**16


def every_code(quantizer):
    """All rows of codes, (1, frame, K); random ones where they are too many."""
    sizes = quantizer.cardinalities
    if math.prod(sizes) <= MOST_CODES:
        rows = torch.tensor(list(itertools.product(*map(range, sizes))))
    else:
        generator = torch.Generator().manual_seed(0)
        columns = [
            torch.randint(size, (MOST_CODES,), generator=generator)
            for size in sizes
        ]
        rows = torch.stack(columns, dim=-1)
    return rows.unsqueeze(0)


@torch.no_grad()
def with_plain_projections(quantizer, gain=1.0):
    """Channels are dimensions, ``gain`` times as large before the search."""
    for projection, slope in (
        (quantizer.input_projection, gain),
        (quantizer.output_projection, 1.0),
    ):
        projection.weight.copy_(slope * torch.eye(quantizer.channels))
        projection.bias.zero_()
    return quantizer


def corners(stages, size=4):
    """Entries of every stage, shapes (size, 2), far finer in each."""
    return [COARSEST * FINER**stage * CORNERS[:size] for stage in range(stages)]


def small_residual(lobe, channels=2, **settings):
    """One of this package's residual vector quantizers, at V = 4, D = 2."""
    size = min(4, lobe.keywords.get("codebook_size", 4))
    projected = lobe.keywords.get("codebook_dim", 2) is not None
    return with_corners(
        lobe(
            channels=channels,
            codebook_size=size,
            codebook_dim=2 if projected else None,
            **settings,
        )
    )


@torch.no_grad()
def with_corners(quantizer):
    """Plain projections, if any, and corners in every codebook."""
    if quantizer.codebook_dim is not None:
        with_plain_projections(quantizer)
    books = quantizer.codebooks
    stages = corners(len(books), quantizer.codebook_size)
    for codebook, entries in zip(books, stages, strict=True):
        codebook.entries.copy_(entries)
    return quantizer
