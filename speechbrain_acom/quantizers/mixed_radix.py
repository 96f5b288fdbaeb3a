"""Several small digits written as one code, and back."""

from collections.abc import Sequence
from itertools import accumulate
from math import prod
from operator import mul

import torch
from torch import Tensor


class MixedRadix(torch.nn.Module):
    """Packs groups of digits into codes, one code a group.

    A group of digits i, j, k of L1, L2, L3 values becomes the code
    i + L1 * (j + L2 * k): the first digit is the fastest, as in the index of
    Mentzer et al., "Finite Scalar Quantization", 2023, appendix A.1. All
    arithmetic is in int64.

    Arguments
    ---------
    groups : Sequence[Sequence[int]]
        Number of values of every digit, group by group.

    Example
    -------
    >>> layout = MixedRadix([[3, 2], [5]])
    >>> layout.cardinalities
    (6, 5)
    >>> layout.pack(torch.tensor([2, 1, 4])).tolist()
    [5, 4]
    >>> layout.unpack(torch.tensor([5, 4])).tolist()
    [2, 1, 4]
    """

    def __init__(self, groups: Sequence[Sequence[int]]) -> None:
        super().__init__()
        self.cardinalities = tuple(prod(group) for group in groups)
        sizes = [size for group in groups for size in group]
        strides = [
            stride
            for group in groups
            for stride in accumulate(group[:-1], mul, initial=1)
        ]
        owners = [code for code, group in enumerate(groups) for _ in group]
        self.digit_counts = tuple(accumulate(len(group) for group in groups))
        for name, values in (
            ("sizes", sizes),
            ("strides", strides),
            ("owners", owners),
        ):
            # Settings, not weights: they stay out of checkpoints.
            self.register_buffer(name, torch.tensor(values), persistent=False)

    def pack(self, digits: Tensor) -> Tensor:
        """Codes, int64, shape (..., group), of digits (..., digit)."""
        codes = digits.new_zeros((*digits.shape[:-1], len(self.cardinalities)))
        return codes.index_add(-1, self.owners, digits * self.strides)

    def unpack(self, codes: Tensor) -> Tensor:
        """Digits, int64, of the first groups' codes (..., k), k from 1."""
        count = self.digit_counts[codes.shape[-1] - 1]
        spread = codes[..., self.owners[:count]]
        return spread // self.strides[:count] % self.sizes[:count]
