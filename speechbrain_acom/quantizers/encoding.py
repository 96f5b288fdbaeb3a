"""Codes of residual codebooks, fast, and the same as in double precision."""

from collections.abc import Sequence

import torch
from torch import Tensor

from speechbrain_acom.precision import precise_linear
from speechbrain_acom.quantizers.codebook import Codebook
from speechbrain_acom.quantizers.projection import bounded_linear


@torch.no_grad()
def fast_codes(
    frames: Tensor, projection: torch.nn.Linear, codebooks: Sequence[Codebook]
) -> Tensor:
    """Codes of frames, each codebook coding what the last one left.

    Frames are projected in single precision, with a bound on the error. Where
    a codebook finds two entries too close to call, that frame is projected
    again in double precision, and goes on with that. So the codes are those
    of a walk in double precision, bit for bit.

    Arguments
    ---------
    frames : Tensor
        Shape (frame, channel).
    projection : torch.nn.Linear
        From channels to the D dimensions of the codebooks.
    codebooks : Sequence[Codebook]
        Coarse to fine.

    Returns
    -------
    Tensor
        Codes, int64, shape (frame, number of codebooks).

    Example
    -------
    >>> from speechbrain_acom.quantizers.codebook import CodebookSettings
    >>> books = [Codebook(8, 2, CodebookSettings()) for _ in range(3)]
    >>> fast_codes(torch.randn(5, 4), torch.nn.Linear(4, 2), books).shape
    torch.Size([5, 3])
    """
    residual, errors = bounded_linear(projection, frames)
    residual = residual.double()
    found: list[Tensor] = []
    for codebook in codebooks:
        codes, uncertain = codebook.likely(residual, errors)
        again = uncertain.nonzero().squeeze(1)
        if len(again) > 0:
            rough = again[errors[again] > 0]
            residual[rough] = _left(
                precise_linear(projection, frames[rough]),
                codebooks,
                [earlier[rough] for earlier in found],
            )
            errors[rough] = 0.0
            codes[again] = codebook.search(residual[again])
        residual -= codebook(codes)
        found.append(codes)
    return torch.stack(found, dim=-1)


def _left(
    residual: Tensor, codebooks: Sequence[Codebook], found: list[Tensor]
) -> Tensor:
    """What the first codebooks leave of frames, given their codes."""
    for codebook, codes in zip(codebooks, found, strict=False):
        residual = residual - codebook(codes)
    return residual
