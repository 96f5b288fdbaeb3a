"""Values that sums of evenly spaced levels take, and how each is spelled."""

from bisect import bisect_right
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from itertools import product
from math import lcm, prod

import torch
from torch import Tensor

from speechbrain_acom.errors import ConfigurationError
from speechbrain_acom.quantizers.settings import LARGEST_CODEBOOK

# A value that is nearer than this to the middle of two of the grid counts as
# the middle and goes up. Rounding of a matrix product, which depends on the
# batch, then decides only at a place where no feature lies by construction.
TIE = 1e-9
# Scales are taken for the nearest fraction whose denominator is no larger than
# that of the least one, so that 1 / 3 is a third.
LEAST_SCALE = 0.0001
# Sums of levels stay exact in int64 and in float64.
LARGEST_DENOMINATOR = 2**31


class ScalarGrid(torch.nn.Module):
    """Per dimension, all sums of one level of every stage.

    A stage of L levels and scale a has the levels a * (2 * i / (L - 1) - 1)
    for the digits i = 0 ... L - 1, symmetric around zero (Parker et al.,
    "Scaling Transformers for Low-Bitrate High-Quality Speech Coding", 2024,
    section on the discrete bottleneck). One stage gives a finite scalar
    quantizer, several a residual one.

    Several rows of digits may have one sum. The canonical one is that whose
    first level is nearest to the sum, the higher of two equally near ones; if
    that leaves a choice, whose first two levels together are nearest, and so
    on. Sums are kept as integers over a common denominator, so that no
    rounding decides.

    Arguments
    ---------
    levels : Sequence[Sequence[int]]
        Number of levels, each at least 2, per stage and dimension.
    scales : Sequence[float]
        Largest level of every stage, from 0.0001 to 1, taken for the nearest
        fraction of a denominator of at most 10 000.

    Raises
    ------
    ConfigurationError
        If the sums of a dimension are too many or their denominator is too
        large.

    Example
    -------
    >>> grid = ScalarGrid([[3], [3]], [1.0, 0.5])
    >>> [str(value) for value in grid.values[0]]
    ['-1', '-1/2', '0', '1/2', '1']
    >>> digits = grid.nearest(torch.tensor([[0.3], [-0.8]]))
    >>> digits.tolist(), grid.sums(digits).tolist()
    ([[2, 0], [0, 1]], [[0.5], [-1.0]])
    """

    def __init__(
        self, levels: Sequence[Sequence[int]], scales: Sequence[float]
    ) -> None:
        super().__init__()
        scales = tuple(
            Fraction(scale).limit_denominator(round(1 / LEAST_SCALE))
            for scale in scales
        )
        columns = [_column(each, scales) for each in zip(*levels, strict=True)]
        self.values = tuple(column.reached for column in columns)
        longest = max(len(column.sums) for column in columns)
        # Integers: module.half() must not round them.
        self._keep("tops", [[size - 1 for size in stage] for stage in levels])
        self._keep("steps", list(zip(*(c.steps for c in columns), strict=True)))
        self._keep("denominators", [c.denominator for c in columns])
        self._keep("known", [c.padded_sums(longest) for c in columns])
        self._keep("spellings", [c.padded_spellings(longest) for c in columns])

    def _keep(self, name: str, values: list) -> None:
        # Settings, not weights: they stay out of checkpoints.
        self.register_buffer(name, torch.tensor(values), persistent=False)

    @property
    def counts(self) -> tuple[int, ...]:
        """Values per dimension that :meth:`nearest` can choose."""
        return tuple(len(values) for values in self.values)

    @property
    def cells(self) -> tuple[float, ...]:
        """Mean distance of neighbouring values per dimension."""
        return tuple(
            float((values[-1] - values[0]) / (len(values) - 1))
            for values in self.values
        )

    def nearest(self, values: Tensor) -> Tensor:
        """Canonical digits of the sums nearest to values; middles go up.

        Arguments
        ---------
        values : Tensor
            In [-1, 1], shape (frame, dimension).

        Returns
        -------
        Tensor
            Digits, int64, shape (frame, stage * dimension), all dimensions of
            the first stage first.
        """
        doubled = self.known[:, 1:] + self.known[:, :-1]
        middles = doubled.double() / (2 * self.denominators.unsqueeze(1))
        return self._spelled(
            torch.searchsorted(
                middles - TIE, values.double().T.contiguous(), right=True
            )
        )

    def canonical(self, digits: Tensor) -> Tensor:
        """Canonical digits (frame, stage * dimension) of the same sums."""
        sums = self._numerators(digits).T.contiguous()
        return self._spelled(torch.searchsorted(self.known, sums))

    def sums(self, digits: Tensor) -> Tensor:
        """Sums of the levels of digits.

        Arguments
        ---------
        digits : Tensor
            Shape (..., digit), in the order of :meth:`nearest`; whatever is
            missing at the end counts as level 0.

        Returns
        -------
        Tensor
            float64, shape (..., dimension). Equal sums are equal bit for bit,
            whatever their digits, stages or grid: each is one division of
            integers.
        """
        return self._numerators(digits).double() / self.denominators

    def _numerators(self, digits: Tensor) -> Tensor:
        present = digits.shape[-1]
        tops = self.tops.flatten()[:present]
        levels = (2 * digits - tops) * self.steps.flatten()[:present]
        missing = self.tops.numel() - present
        levels = torch.nn.functional.pad(levels, (0, missing))
        return levels.unflatten(-1, self.tops.shape).sum(-2)

    def _spelled(self, indices: Tensor) -> Tensor:
        """Digits of indices (dimension, frame) into the known sums."""
        dimensions = torch.arange(len(indices), device=indices.device)
        digits = self.spellings[dimensions.unsqueeze(1), indices]
        return digits.permute(1, 2, 0).flatten(1)


class _Column:
    """The sums of one dimension, ascending, and their canonical digits."""

    def __init__(
        self, levels: tuple[int, ...], scales: tuple[Fraction, ...]
    ) -> None:
        steps = [
            scale / (size - 1)
            for size, scale in zip(levels, scales, strict=True)
        ]
        self.denominator = lcm(*(step.denominator for step in steps))
        self.steps = [int(step * self.denominator) for step in steps]
        spelled = _spelled_sums(levels, self.steps)
        self.sums = list(spelled)
        self.spellings = list(spelled.values())

    @property
    def reached(self) -> tuple[Fraction, ...]:
        """Sums that are the nearest ones of some number in [-1, 1]."""
        first = self._nearest(-self.denominator)
        last = self._nearest(self.denominator)
        return tuple(
            Fraction(numerator, self.denominator)
            for numerator in self.sums[first : last + 1]
        )

    def padded_sums(self, length: int) -> list[int]:
        """Sums, continued by one so high that nothing is nearest to it."""
        beyond = self.sums[-1] + 4 * self.denominator
        return self.sums + [beyond] * (length - len(self.sums))

    def padded_spellings(self, length: int) -> list[tuple[int, ...]]:
        """Digits of the padded sums."""
        missing = length - len(self.spellings)
        return self.spellings + self.spellings[-1:] * missing

    def _nearest(self, numerator: int) -> int:
        middles = [
            low + high
            for low, high in zip(self.sums, self.sums[1:], strict=False)
        ]
        return bisect_right(middles, 2 * numerator)


@lru_cache(maxsize=64)
def _column(levels: tuple[int, ...], scales: tuple[Fraction, ...]) -> _Column:
    if prod(levels) > LARGEST_CODEBOOK:
        raise ConfigurationError(
            "levels",
            list(levels),
            f"at most {LARGEST_CODEBOOK} combinations of the stages' levels "
            "in a dimension: take fewer stages or fewer levels",
        )
    column = _Column(levels, scales)
    if column.denominator > LARGEST_DENOMINATOR:
        raise ConfigurationError(
            "scales",
            [float(scale) for scale in scales],
            "scales that fit together, as 1, 0.5, 0.25 do",
        )
    return column


def _spelled_sums(
    levels: tuple[int, ...], steps: list[int]
) -> dict[int, tuple[int, ...]]:
    """Every sum of levels, ascending, with its canonical digits."""
    rows = []
    for digits in product(*(range(size) for size in levels)):
        parts = [
            (2 * digit - size + 1) * step
            for digit, size, step in zip(digits, levels, steps, strict=True)
        ]
        rest, preference = sum(parts), []
        for part in parts:
            rest -= part
            preference += [abs(rest), -part]
        rows.append((sum(parts), preference, digits))
    spelled = {}
    for total, _, digits in sorted(rows):
        spelled.setdefault(total, digits)
    return spelled
