"""What a bit is worth where entries are chosen."""

import torch
from torch import Tensor

from speechbrain_acom.quantizers.moments import RunningMoments


class BitPrice(torch.nn.Module):
    """Squared distance that one bit is worth, as features and training go on.

    Part of a model: the device chooses by what training ended with.

    Arguments
    ---------
    weight : float
        What it is as a part of the features' running spread.
    dimension : int
        Size of a frame, D.
    decay : float
        Of the running spread, see :class:`RunningMoments`.
    of_spread : bool
        Whether it follows the spread; otherwise it is the weight itself.

    Example
    -------
    >>> price = BitPrice(weight=0.5, dimension=1)
    >>> price.start(torch.tensor([[1.0], [5.0]]))  # of spread 4
    >>> price.value.item()
    2.0
    >>> price.halve(price.share.item())
    >>> price.value.item()
    1.0
    """

    def __init__(
        self,
        weight: float,
        dimension: int,
        decay: float = 0.99,
        of_spread: bool = True,
    ) -> None:
        super().__init__()
        self.weight = weight
        self.of_spread = of_spread
        # Followed with any weight: a training may go on with another one.
        self.moments = RunningMoments(dimension, decay)
        # What collapses have left of it.
        self.register_buffer("share", torch.ones((), dtype=torch.float64))

    @property
    def reached(self) -> float:
        """The weight that collapses have left."""
        return self.weight * float(self.share)

    @property
    def value(self) -> Tensor:
        """Squared distance, float64, a scalar."""
        price = self.weight * self.share
        return price * self.moments.spread if self.of_spread else price

    @torch.no_grad()
    def halve(self, share: float) -> None:
        """From now on half of what it was at a share.

        Arguments
        ---------
        share : float
            ``share`` when bits were too dear; weights may have gone back to
            an earlier time since then.
        """
        self.share.fill_(share / 2)

    @torch.no_grad()
    def reset(self) -> None:
        """All of the weight again, as at the start of a training."""
        self.share.fill_(1.0)

    def start(self, frames: Tensor) -> None:
        """Take the spread of some frames, (frame, D), for that of all."""
        self.moments.start(frames)

    def follow(self, frames: Tensor) -> None:
        """Follow the frames (frame, D) of one batch."""
        self.moments.follow(frames)
