"""How evenly the entries of the codebooks are used."""

from dataclasses import dataclass

import torch
from torch import Tensor

from speechbrain_acom.lengths import frame_mask
from speechbrain_acom.processes import sum_over_processes


@dataclass
class CodebookUseRow:
    """Use of one codebook.

    Arguments
    ---------
    codebook : int
        Its place, from 0, coarse to fine.
    entries : int
        V, the number of its entries.
    perplexity : float
        2 to the entropy of the entries in bits: as many equally frequent
        entries would carry as much. At most V; 0 where nothing was counted.
    used_percent : float
        Share of the entries that occurred at least once, in percent.
    frames : int
        Real frames that were counted.
    """

    codebook: int
    entries: int
    perplexity: float
    used_percent: float
    frames: int = 0


class CodebookUse:
    """Counts entries over the real frames of many batches.

    Counts are pooled before the entropy is taken: a mean of entropies of
    short utterances would read low.

    Arguments
    ---------
    cardinalities : tuple[int, ...]
        Entries per codebook, coarse to fine.

    Example
    -------
    >>> use = CodebookUse((4,))
    >>> use.update(torch.tensor([[[0], [1], [3]]]), torch.tensor([2 / 3]))
    >>> use.rows()
    [CodebookUseRow(codebook=0, entries=4, perplexity=2.0, used_percent=50.0, frames=2)]
    """

    def __init__(self, cardinalities: tuple[int, ...]) -> None:
        self.cardinalities = tuple(cardinalities)
        self._counts = torch.zeros(sum(self.cardinalities), dtype=torch.long)

    def update(self, codes: Tensor, lengths: Tensor | None = None) -> None:
        """Count the entries of one padded batch.

        Arguments
        ---------
        codes : Tensor
            Shape (batch, time, k) with k <= K; with k = 0, as a bypass gives
            in training, nothing is counted.
        lengths : Tensor | None
            Relative lengths in [0, 1], shape (batch,). None: no padding.
        """
        frames = codes[frame_mask(lengths, codes)]
        # One count for all codebooks: each has its own range of numbers.
        ends = torch.tensor((0, *self.cardinalities)).cumsum(0)
        numbers = frames + ends[: frames.shape[1]].to(frames)
        counts = torch.bincount(numbers.flatten(), minlength=len(self._counts))
        self._counts = self._counts.to(counts.device) + counts

    def state(self) -> Tensor:
        """Counts of this process, to go on from."""
        return self._counts.cpu()

    def load_state(self, state: Tensor) -> None:
        """Go on from what :meth:`state` gave."""
        self._counts = state

    def rows(self) -> list[CodebookUseRow]:
        """One row a codebook, over all processes of a distributed run.

        Every process must call this.
        """
        counts = sum_over_processes(self._counts).cpu()
        return [
            _row(codebook, part)
            for codebook, part in enumerate(counts.split(self.cardinalities))
        ]


def _row(codebook: int, counts: Tensor) -> CodebookUseRow:
    frames = int(counts.sum())
    shares = counts.double() / max(frames, 1)
    used = shares[shares > 0]
    entropy = -(used * used.log2()).sum()
    perplexity = float(2.0**entropy) if len(used) else 0.0
    used_percent = 100.0 * len(used) / len(counts)
    return CodebookUseRow(
        codebook, len(counts), perplexity, used_percent, frames
    )
