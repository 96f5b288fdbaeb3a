"""One codebook: search, lookup, and how its entries follow the data."""

from dataclasses import dataclass

import torch
from torch import Tensor

from speechbrain_acom.processes import (
    copy_from_first_process,
    sum_over_processes,
)
from speechbrain_acom.quantizers.kmeans import kmeans
from speechbrain_acom.quantizers.nearest import (
    likely_nearest_entries,
    nearest_entries,
)

DISTANCES = ("euclidean", "cosine")
UPDATES = ("gradient", "ema")
# An entry never counts as less probable: the coder's tables know no less.
LEAST_PROBABILITY = 2.0**-16


@dataclass(frozen=True)
class CodebookSettings:
    """How a codebook searches and adapts.

    Arguments
    ---------
    distance : str
        "euclidean" or "cosine": the angle to an entry, whatever the lengths.
    update : str
        "gradient" (entries are a parameter) or "ema" (they are a buffer that
        follows a moving average).
    decay : float
        Weight of the past in the moving averages, in [0, 1).
    dead_threshold : float
        An entry is dead once its share of the frames falls below
        ``dead_threshold / size``. 0 turns replacement off.
    rate_weight : float
        Squared distance that one bit is worth in the search; 0: none.
    """

    distance: str = "euclidean"
    update: str = "gradient"
    decay: float = 0.99
    dead_threshold: float = 0.05
    rate_weight: float = 0.0


class Codebook(torch.nn.Module):
    """Entries that frames are replaced by, and how often each was used.

    The entries are a parameter or a buffer that follows the mean of the
    frames nearest to each entry (van den Oord et al., "Neural Discrete
    Representation Learning", 2017, appendix A.1). Averages run over shares
    of frames instead of counts, so that they do not depend on the size of the
    batch. Where several processes train, they agree on counts, sums and
    replacements.

    Arguments
    ---------
    size : int
        Number of entries, V.
    dimension : int
        Size of an entry, D.
    settings : CodebookSettings
        How it searches and adapts.

    Example
    -------
    >>> codebook = Codebook(8, 2, CodebookSettings())
    >>> codes = codebook.search(torch.randn(5, 2))
    >>> codebook(codes).shape
    torch.Size([5, 2])
    """

    def __init__(
        self, size: int, dimension: int, settings: CodebookSettings
    ) -> None:
        super().__init__()
        self.settings = settings
        entries = torch.randn(size, dimension)
        if settings.update == "ema":
            self.register_buffer("entries", entries)
        else:
            self.entries = torch.nn.Parameter(entries)
        self.register_buffer("shares", torch.full((size,), 1.0 / size))

    @torch.no_grad()
    def search(self, frames: Tensor, penalties: Tensor | None = None) -> Tensor:
        """Codes, int64, shape (frame,), of frames (frame, D).

        Arguments
        ---------
        frames : Tensor
            Shape (frame, D).
        penalties : Tensor | None
            What is added to the squared distances, float64, shape
            (frame, V). None: what ``rate_weight`` says.
        """
        if penalties is None:
            penalties = self._penalties()
        return self._nearest(frames, self.entries, penalties)

    def distances(self, frames: Tensor) -> Tensor:
        """Squared distances to every entry, with gradients to both.

        Arguments
        ---------
        frames : Tensor
            Shape (frame, D).

        Returns
        -------
        Tensor
            What :meth:`search` compares, shape (frame, V), without penalties.
        """
        # Entries may change in place before the backward pass.
        entries = self.entries.clone().to(frames)
        if self.settings.distance == "cosine":
            frames, entries = _unit(frames), _unit(entries)
        products = frames @ entries.T
        squares = frames.square().sum(1, keepdim=True)
        return (squares - 2.0 * products + entries.square().sum(1)).clamp(0.0)

    def bits(self) -> Tensor:
        """-log2 of the entries' running shares, float64, shape (V,)."""
        shares = self.shares.double()
        probabilities = (shares / shares.sum()).clamp(min=LEAST_PROBABILITY)
        return -probabilities.log2()

    @torch.no_grad()
    def likely(self, frames: Tensor, errors: Tensor) -> tuple[Tensor, Tensor]:
        """Search for frames that are known up to an error only.

        Arguments
        ---------
        frames : Tensor
            Shape (frame, D).
        errors : Tensor
            Bound on the distance of each to what it should be, (frame,).

        Returns
        -------
        tuple[Tensor, Tensor]
            Codes, and whether each may be another than what :meth:`search`
            gives for the frame without error, shape (frame,).
        """
        entries = self.entries
        if self.settings.distance == "cosine":
            # A step turns a direction by at most twice its relative length.
            lengths = torch.linalg.vector_norm(frames, dim=1).double()
            errors = 2.0 * errors / lengths
            frames, entries = _directions(frames), _directions(entries)
        return likely_nearest_entries(
            frames, errors, entries, self._penalties()
        )

    def forward(self, codes: Tensor) -> Tensor:
        """Entries, float32, shape (..., D), of codes (...)."""
        # The lookup copies, so entries may change in place after it without
        # disturbing the gradient.
        return torch.nn.functional.embedding(codes, self.entries)

    def initialize(self, frames: Tensor, iterations: int) -> None:
        """Start from the k-means centres of frames (frame, D)."""
        centres = kmeans(frames, len(self.entries), iterations, self._nearest)
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
        rate = (1.0 - self.settings.decay) * (total > 0)
        batch_shares = counts / total.clamp(min=1.0)
        self.shares.lerp_(batch_shares.to(self.shares), rate.to(self.shares))
        if self.settings.update == "ema":
            self._follow(frames, codes, counts, rate * batch_shares)
        return self._replace_dead(frames)

    def _nearest(
        self, frames: Tensor, entries: Tensor, penalties: Tensor | None = None
    ) -> Tensor:
        if self.settings.distance == "cosine":
            # On the unit sphere |x - e|² = 2 - 2 cos(x, e).
            frames, entries = _directions(frames), _directions(entries)
        return nearest_entries(frames, entries, penalties)

    def _penalties(self) -> Tensor | None:
        """What the bits of each entry weigh, float64, shape (V,)."""
        if not self.settings.rate_weight:
            return None
        return self.settings.rate_weight * self.bits()

    def _follow(
        self, frames: Tensor, codes: Tensor, counts: Tensor, news: Tensor
    ) -> None:
        """Move every entry towards the mean of its frames."""
        sums = torch.zeros_like(self.entries, dtype=torch.float64)
        sums = sum_over_processes(sums.index_add_(0, codes, frames.double()))
        means = sums / counts.clamp(min=1.0).unsqueeze(1)
        # Part of this batch in all that the entry stands for; 0, not 0 / 0,
        # for an entry whose share has faded away.
        weights = news / self.shares.double().clamp(min=1e-30)
        self.entries.lerp_(
            means.to(self.entries), weights.unsqueeze(1).to(self.entries)
        )

    def _replace_dead(self, frames: Tensor) -> Tensor:
        """Put random frames of the batch where entries are dead."""
        dead = self.shares < self.settings.dead_threshold / len(self.shares)
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


def _directions(vectors: Tensor) -> Tensor:
    """Vectors of length one, float64; zero stays zero."""
    return torch.nn.functional.normalize(vectors.double(), dim=1, eps=1e-100)


def _unit(vectors: Tensor) -> Tensor:
    """Vectors of length one, in their own precision; zero stays zero."""
    return torch.nn.functional.normalize(vectors, dim=1, eps=1e-12)
