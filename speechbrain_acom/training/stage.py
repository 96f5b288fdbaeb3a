"""Means of scalars over the batches of one stage."""

from collections import defaultdict

from torch import Tensor


class RunningMeans:
    """Named means, for logs.

    Example
    -------
    >>> import torch
    >>> means = RunningMeans()
    >>> means.update("loss", torch.tensor(1.0))
    >>> means.update("loss", torch.tensor(2.0))
    >>> means.values()
    {'loss': 1.5}
    """

    def __init__(self) -> None:
        self._sums: dict[str, float] = defaultdict(float)
        self._counts: dict[str, int] = defaultdict(int)

    def update(self, name: str, value: Tensor) -> None:
        """Count one more value, a scalar."""
        self._sums[name] += float(value.detach())
        self._counts[name] += 1

    def values(self) -> dict[str, float]:
        """Means by name, in the order in which the names came."""
        return {
            name: self._sums[name] / self._counts[name] for name in self._sums
        }
