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
        self.register_buffer("mean", torch.zeros(dimension))
        self.register_buffer("square", torch.ones(()))

    @property
    def spread(self) -> Tensor:
        """Mean squared distance from the mean, float64, a scalar."""
        centre = self.mean.double().square().sum()
        return (self.square.double() - centre).clamp(min=LEAST_SPREAD)

    def start(self, frames: Tensor) -> None:
        """Take the moments of frames (frame, D) for those of all.

        There is at least one of them.
        """
        mean, square, _ = _moments(frames)
        self.mean.copy_(mean)
        self.square.copy_(square)

    def follow(self, frames: Tensor) -> None:
        """Follow the frames (frame, D) of one batch of all processes."""
        mean, square, total = _moments(frames)
        # A batch of padding only leaves them as they are.
        news = (1.0 - self.decay) * (total > 0)
        self.mean.lerp_(mean.to(self.mean), news.to(self.mean))
        self.square.lerp_(square.to(self.square), news.to(self.square))


def _moments(frames: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean (D,), mean square and number of frames of all processes."""
    frames = frames.double()
    count = torch.tensor(float(len(frames)), device=frames.device)
    sums = torch.cat(
        [frames.sum(0), frames.square().sum().view(1), count.double().view(1)]
    )
    sums = sum_over_processes(sums)
    total = sums[-1]
    means = sums[:-1] / total.clamp(min=1.0)
    return means[:-1], means[-1], total
