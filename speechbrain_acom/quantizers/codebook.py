"""One codebook: search, lookup, and how its entries follow the data."""

import torch
from torch import Tensor

from speechbrain_acom.processes import (
    copy_from_first_process,
    sum_over_processes,
)
from speechbrain_acom.quantizers.kmeans import kmeans
from speechbrain_acom.quantizers.nearest import nearest_entries


class Codebook(torch.nn.Module):
    """Entries that frames are replaced by, and how often each was used.

    The entries are a parameter, or, with ``moving_average``, a buffer that
    follows the mean of the frames nearest to each entry (van den Oord et al.,
    "Neural Discrete Representation Learning", 2017, appendix A.1). Averages
    run over shares of frames instead of counts, so that they do not depend on
    the size of the batch. Where several processes train, they agree on
    counts, sums and replacements.

    Arguments
    ---------
    size : int
        Number of entries, V.
    dimension : int
        Size of an entry, D.
    moving_average : bool
        Whether entries follow a moving average instead of a gradient.
    decay : float
        Weight of the past in the moving averages, in [0, 1).
    dead_threshold : float
        An entry is dead once its share of the frames falls below
        ``dead_threshold / size``. 0 turns replacement off.

    Example
    -------
    >>> codebook = Codebook(8, 2, False, decay=0.99, dead_threshold=0.05)
    >>> codes = codebook.search(torch.randn(5, 2))
    >>> codebook(codes).shape
    torch.Size([5, 2])
    """

    def __init__(
        self,
        size: int,
        dimension: int,
        moving_average: bool,
        decay: float,
        dead_threshold: float,
    ) -> None:
        super().__init__()
        self.moving_average = moving_average
        self.decay = decay
        self.least_share = dead_threshold / size
        entries = torch.randn(size, dimension)
        if moving_average:
            self.register_buffer("entries", entries)
        else:
            self.entries = torch.nn.Parameter(entries)
        self.register_buffer("shares", torch.full((size,), 1.0 / size))

    def search(self, frames: Tensor) -> Tensor:
        """Codes, int64, shape (frame,), of frames (frame, D)."""
        return nearest_entries(frames, self.entries)

    def forward(self, codes: Tensor) -> Tensor:
        """Entries, float64, shape (..., D), of codes (...)."""
        # The lookup copies, so entries may change in place after it without
        # disturbing the gradient.
        return torch.nn.functional.embedding(codes, self.entries).double()

    def initialize(self, frames: Tensor, iterations: int) -> None:
        """Start from the k-means centres of frames (frame, D)."""
        centres = kmeans(frames, len(self.entries), iterations)
        self.entries.detach().copy_(centres)
        self.shares.fill_(1.0 / len(self.shares))

    @torch.no_grad()
    def adapt(self, frames: Tensor, codes: Tensor) -> Tensor:
        """Follow one training batch: averages and dead entries.

        Arguments
        ---------
        frames : Tensor
            Real frames, shape (frame, D).
        codes : Tensor
            What :meth:`search` gave for them, shape (frame,).

        Returns
        -------
        Tensor
            Number of entries replaced, a scalar.
        """
        size = len(self.entries)
        counts = torch.bincount(codes, minlength=size).double()
        counts = sum_over_processes(counts)
        total = counts.sum()
        # A batch of padding only must not look as if nothing were used.
        rate = (1.0 - self.decay) * (total > 0)
        batch_shares = counts / total.clamp(min=1.0)
        self.shares.lerp_(batch_shares.to(self.shares), rate.to(self.shares))
        if self.moving_average:
            self._follow(frames, codes, counts, rate * batch_shares)
        return self._replace_dead(frames)

    def _follow(
        self, frames: Tensor, codes: Tensor, counts: Tensor, news: Tensor
    ) -> None:
        """Move every entry towards the mean of its frames."""
        sums = frames.new_zeros(self.entries.shape)
        sums = sum_over_processes(sums.index_add_(0, codes, frames))
        means = sums / counts.clamp(min=1.0).unsqueeze(1)
        # Part of this batch in all that the entry stands for; 0, not 0 / 0,
        # for an entry whose share has faded away.
        weights = news / self.shares.double().clamp(min=1e-30)
        self.entries.lerp_(
            means.to(self.entries), weights.unsqueeze(1).to(self.entries)
        )

    def _replace_dead(self, frames: Tensor) -> Tensor:
        """Put random frames of the batch where entries are dead."""
        dead = self.shares < self.least_share
        number = int(dead.sum())
        # Every process must come to the same answer here, or one would wait
        # for a broadcast forever: shares are equal everywhere, frames not.
        if number > 0:
            chosen = self.entries.detach()[dead]
            if len(frames) > 0:
                order = torch.randperm(len(frames), device=frames.device)
                steps = torch.arange(number, device=frames.device)
                chosen = frames[order[steps % len(frames)]].to(chosen)
            copy_from_first_process(chosen)
            self.entries.detach()[dead] = chosen
            self.shares[dead] = 1.0 / len(self.shares)
        return dead.sum()
