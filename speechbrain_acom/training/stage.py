"""What is logged of one stage: means of scalars, use of the codebooks."""

from collections import defaultdict
from collections.abc import Sequence

from speechbrain.utils.logger import get_logger
from torch import Tensor

from speechbrain_acom.metrics.codebook_use import CodebookUseRow

logger = get_logger(__name__)

# Part of the entries below which a codebook's perplexity is worth a warning.
LEAST_PERPLEXITY = 0.1


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

    def state(self) -> dict[str, tuple[float, int]]:
        """Sum and count of every name, to go on from."""
        return {
            name: (total, self._counts[name])
            for name, total in self._sums.items()
        }

    def load_state(self, state: dict[str, tuple[float, int]]) -> None:
        """Go on from what :meth:`state` gave."""
        self._sums.clear()
        self._counts.clear()
        for name, (total, count) in state.items():
            self._sums[name], self._counts[name] = total, count


def codebook_stats(rows: Sequence[CodebookUseRow]) -> dict[str, str]:
    """Use of the codebooks in one line, coarse to fine.

    Arguments
    ---------
    rows : Sequence[CodebookUseRow]
        One a codebook; none where there is nothing to say.

    Returns
    -------
    dict[str, str]
        "perplexity" and "used_percent".

    Example
    -------
    >>> rows = [CodebookUseRow(0, 4, 3.96, 100.0), CodebookUseRow(1, 4, 1.0, 25.0)]
    >>> codebook_stats(rows)
    {'perplexity': '4.0/1.0', 'used_percent': '100/25'}
    """
    if not rows:
        return {}
    return {
        "perplexity": "/".join(f"{row.perplexity:.1f}" for row in rows),
        "used_percent": "/".join(f"{row.used_percent:.0f}" for row in rows),
    }


def warn_of_collapsing(rows: Sequence[CodebookUseRow]) -> None:
    """Name the codebooks of which a few entries do all the work.

    That is, those with a perplexity below a tenth of their V entries.

    Nothing is said of a codebook for which fewer than V frames were counted:
    n frames have a perplexity of n at most, so that a few of them look like a
    collapse of any codebook. V frames tell: if all entries are equally
    likely, their perplexity is about V / 2.

    Arguments
    ---------
    rows : Sequence[CodebookUseRow]
        One a codebook.
    """
    for row in rows:
        if row.frames < row.entries:
            continue
        if row.perplexity < LEAST_PERPLEXITY * row.entries:
            logger.warning(
                f"codebook {row.codebook} is collapsing: perplexity "
                f"{row.perplexity:.1f} of {row.entries} entries"
            )
