"""How far features are spread, followed over batches."""

import torch
from torch import Tensor

from speechbrain_acom.processes import sum_over_processes

# Of frames that are all the same: what is divided by it or compared with it
# stays finite.
LEAST_SPREAD = 1e-12


class RunningMoments(torch.nn.Module):
    """Running mean and mean square of frames.

    They are means over frames, so that padding and the size of a batch have no
    say. Where several processes train, they agree.

    Arguments
    ---------
    dimension : int
        Size of a frame, D.
    decay : float
        Weight of the past, in [0, 1).

    Example
    -------
    >>> moments = RunningMoments(dimension=1)
    >>> moments.start(torch.tensor([[1.0], [3.0]]))
    >>> moments.spread.item()
    1.0
    """

    def __init__(self, dimension: int, decay: float = 0.99) -> None:
        super().__init__()
        self.decay = decay
        # In double precision: the spread is a difference of the two.
        precise = {"dtype": torch.float64}
        self.register_buffer("mean", torch.zeros(dimension, **precise))
        self.register_buffer("square", torch.ones((), **precise))

    @property
    def spread(self) -> Tensor:
        """Mean squared distance from the mean, float64, a scalar."""
        spread = self.square - self.mean.square().sum()
        return spread.clamp(min=LEAST_SPREAD)

    def start(self, frames: Tensor) -> None:
        """Take the moments of some frames for those of all.

        Arguments
        ---------
        frames : Tensor
            One or more, shape (frame, D); in a distributed training those of
            all processes count.
        """
        mean, square, _ = _moments(frames)
        self.mean.copy_(mean)
        self.square.copy_(square)

    def follow(self, frames: Tensor) -> None:
        """Follow the frames of one batch.

        Arguments
        ---------
        frames : Tensor
            Shape (frame, D), of this process; every process must call this.
        """
        mean, square, total = _moments(frames)
        # A batch of padding only leaves them as they are.
        news = (1.0 - self.decay) * (total > 0)
        self.mean.lerp_(mean, news)
        self.square.lerp_(square, news)


def _moments(frames: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean (D,), mean square and number of frames of all processes."""
    frames = frames.double()
    count = frames.new_tensor([len(frames)])
    square = frames.square().sum().view(1)
    sums = sum_over_processes(torch.cat([frames.sum(0), square, count]))
    total = sums[-1]
    means = sums[:-1] / total.clamp(min=1.0)
    return means[:-1], means[-1], total
