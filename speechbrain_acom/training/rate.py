"""λ over a training, and which checkpoints it lets be chosen."""

import math
from collections.abc import Mapping
from pathlib import Path

import torch
from speechbrain.utils.checkpoints import (
    Checkpoint,
    mark_as_loader,
    mark_as_saver,
    register_checkpoint_hooks,
)

from speechbrain_acom.errors import ConfigurationError
from speechbrain_acom.quantizers import Quantizer
from speechbrain_acom.quantizers.bit_price import BitPrice
from speechbrain_acom.quantizers.rate_model import RateModel
from speechbrain_acom.quantizers.settings import check_weight

# What puts a checkpoint behind all that may be chosen, whatever its metric.
BEHIND = 1e6


@register_checkpoint_hooks
class RateSchedule:
    """λ, which rises linearly and is halved by a collapse.

    Goes into the checkpointer: a training that is resumed has not forgotten
    what was too much.

    The price of bits where entries are chosen is there from the start. With a
    rate model that does not learn jointly λ stays 0 in the first half of the
    ramp, in which the model learns the codes, and rises in the second, from
    whose start on the model is frozen.

    Arguments
    ---------
    weight : float
        λ at the end of the ramp: nats of task loss that one bit a code frame
        is worth. 0: the rate is no part of the loss.
    ramp_epochs : float
        Epochs in which λ rises from 0. 0: none.

    Raises
    ------
    ConfigurationError
        If one of these is not a number from 0 on.

    Example
    -------
    >>> schedule = RateSchedule(weight=0.1, ramp_epochs=4)
    >>> schedule.advance(epoch=3, batch=0)
    >>> schedule.current
    0.05
    """

    def __init__(self, weight: float, ramp_epochs: float = 0.0) -> None:
        check_weight("rate_weight", weight)
        check_weight("rate_ramp_epochs", ramp_epochs)
        self.weight = weight
        self.ramp_epochs = ramp_epochs
        self.batches_per_epoch = 1
        self.progress = 0.0
        self.limit = math.inf
        self.alone: list[RateModel] = []
        self.prices: list[BitPrice] = []

    def begin(
        self, quantizer: Quantizer, batches_per_epoch: int, epochs: int
    ) -> None:
        """Get to know what is trained.

        Arguments
        ---------
        quantizer : Quantizer
            What stands in the cut.
        batches_per_epoch : int
            Steps of an epoch, before any accumulation of gradients.
        epochs : int
            Epochs of the training.

        Raises
        ------
        ConfigurationError
            If λ would have nothing to weigh, or not rise to its end, or a rate
            model that does not learn jointly no time to learn in.
        """
        self.batches_per_epoch = batches_per_epoch
        self.alone = [m for m in rate_models(quantizer) if not m.joint]
        self.prices = bit_prices(quantizer)
        for price in self.prices:
            # Not what another training has left; a checkpoint of this one
            # that is loaded has its own.
            price.reset()
        if self.weight > 0 and self.alone and not self.ramp_epochs:
            raise ConfigurationError(
                "rate_ramp_epochs",
                self.ramp_epochs,
                "more than 0: with joint: false the rate model learns in the "
                "first half of the ramp only",
            )
        if self.weight > 0 and self.ramp_epochs > epochs:
            raise ConfigurationError(
                "rate_ramp_epochs",
                self.ramp_epochs,
                f"at most number_of_epochs, {epochs}: what is tested was "
                "trained with all of λ",
            )
        if self.weight > 0 and not quantizer.rated:
            raise ConfigurationError(
                "rate_weight",
                self.weight,
                f"0, for {type(quantizer).__name__} has no rate; "
                "hparams/quantizers/rvq_rate.yaml has one",
            )

    def advance(self, epoch: int, batch: int) -> None:
        """Say where training is: epochs from 1, batches of this one."""
        self.progress = epoch - 1 + batch / self.batches_per_epoch

    @property
    def current(self) -> float:
        """λ now."""
        if self.progress >= self.ramp_epochs:
            return self.last
        start = self.ramp_epochs / 2 if self.alone else 0.0
        ramp = max(self.progress - start, 0.0) / (self.ramp_epochs - start)
        return min(self.weight * ramp, self.limit)

    @property
    def frozen(self) -> bool:
        """Whether the rate model has learned what it is to learn."""
        return bool(self.alone) and self.current > 0

    @property
    def last(self) -> float:
        """λ at the end of the ramp, or what collapses have left of it."""
        return min(self.weight, self.limit)

    @property
    def ramped(self) -> bool:
        """Whether λ is what it will be from now on."""
        return self.current >= self.last

    @property
    def active(self) -> bool:
        """Whether bits have a price now, in the loss or in the search."""
        return self.current > 0 or bool(self.prices)

    def halve(self) -> None:
        """Never again more than half of what λ is now, if it has risen."""
        if self.current > 0:
            self.limit = self.current / 2

    @mark_as_saver
    def _save(self, path: str | Path) -> None:
        Path(path).write_text(repr(self.limit), encoding="utf-8")

    @mark_as_loader
    def _load(self, path: str | Path, end_of_epoch: bool) -> None:
        self.limit = float(Path(path).read_text(encoding="utf-8"))


def rate_models(module: torch.nn.Module) -> list[RateModel]:
    """The rate models that are part of a module, or of several."""
    return [part for part in module.modules() if isinstance(part, RateModel)]


def bit_prices(module: torch.nn.Module) -> list[BitPrice]:
    """The prices above 0 that bits have in a module where it chooses codes."""
    prices = [part for part in module.modules() if isinstance(part, BitPrice)]
    return [price for price in prices if price.weight > 0]


def choice_key(schedule: RateSchedule, name: str) -> str:
    """What checkpoints are chosen by, smallest first.

    Arguments
    ---------
    schedule : RateSchedule
        λ.
    name : str
        Name of the metric.

    Returns
    -------
    str
        The metric's name; with λ another one, see :func:`choice`.
    """
    return f"ramped_{name}" if schedule.weight > 0 else name


def ramped(checkpoint: Checkpoint, key: str | None) -> bool:
    """Whether a checkpoint is of a time when λ no longer rose.

    Arguments
    ---------
    checkpoint : Checkpoint
        The checkpoint.
    key : str | None
        What checkpoints are chosen by, see :func:`choice_key`.

    Returns
    -------
    bool
        True for all that do not tell.
    """
    return checkpoint.meta.get(key, 0.0) < BEHIND


def choice(
    schedule: RateSchedule, reached: Mapping[str, float]
) -> Mapping[str, float]:
    """What a checkpoint is chosen by, beside what was reached.

    While λ rises the codes still cost what they cost without it, and the
    metric is often better: these checkpoints come last.

    Arguments
    ---------
    schedule : RateSchedule
        λ.
    reached : Mapping[str, float]
        The validation's metric by its name; smaller is better.

    Returns
    -------
    Mapping[str, float]
        The metric by its name and by that of :func:`choice_key`.

    Example
    -------
    >>> schedule = RateSchedule(weight=0.1, ramp_epochs=4)
    >>> schedule.advance(epoch=2, batch=0)
    >>> choice(schedule, {"wer_percent": 5.0})
    {'wer_percent': 5.0, 'ramped_wer_percent': 1000005.0}
    """
    behind = 0.0 if schedule.ramped else BEHIND
    chosen = {
        choice_key(schedule, name): value + behind
        for name, value in reached.items()
    }
    return {**reached, **chosen}
