"""λ over a training, and what happens when the codes collapse.

With too large a λ a training ends at the cheapest codes of all, always the
same one, and it gets there suddenly. So λ rises slowly, every validation
looks for a collapse, and one that is found is undone: the model goes back to
the best checkpoint and on with half of the λ that was too much, and of what a
bit is worth where entries are chosen. Not to the last one: that one is often
on its way to the collapse already, and gets there with any λ.
"""

import copy
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from speechbrain.core import INTRA_EPOCH_CKPT_FLAG
from speechbrain.utils.checkpoints import (
    Checkpoint,
    Checkpointer,
    mark_as_loader,
    mark_as_saver,
    register_checkpoint_hooks,
)
from speechbrain.utils.logger import get_logger

from speechbrain_acom.errors import ConfigurationError
from speechbrain_acom.metrics.codebook_use import CodebookUseRow
from speechbrain_acom.processes import sum_over_processes
from speechbrain_acom.quantizers import Quantizer
from speechbrain_acom.quantizers.bit_price import BitPrice
from speechbrain_acom.quantizers.rate_model import RateModel
from speechbrain_acom.quantizers.settings import check_weight

logger = get_logger(__name__)

# Codes have collapsed when no codebook has a perplexity of this: at 25 frames a
# second that is less than two bits a second. Good codes come down to 1.5.
LEAST_PERPLEXITY = 1.05
# Or when less than this part of what the best model got right is left.
KEPT = 0.5
# What goes back to a checkpoint. The time does not: epochs and the learning
# rate go on, so that a training ends when it was to end.
RESTORED = ("split", "normalize", "optimizer")
# What puts a checkpoint behind all that may be chosen, whatever its metric.
BEHIND = 1e6


@register_checkpoint_hooks
class RateSchedule:
    """λ, which rises linearly and is halved by a collapse.

    Goes into the checkpointer: a training that is resumed has not forgotten
    what was too much.

    The price of bits where entries are chosen is there from the start, and
    halved with λ. With a rate model that does not learn jointly λ stays 0 in the first half
    of the ramp, in which the model learns the codes, and rises in the second,
    from whose start on the model is frozen.

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


def save_or_undo(
    schedule: RateSchedule,
    checkpointer: Checkpointer,
    rows: Sequence[CodebookUseRow],
    reached: Mapping[str, float],
    most: int,
) -> None:
    """Save a checkpoint after a validation, of what there is to keep.

    Arguments
    ---------
    schedule, checkpointer, rows, reached
        As for :func:`undo_collapse`.
    most : int
        How many checkpoints to keep, the best ones and the last.
    """
    keys = [choice_key(schedule, name) for name in reached]
    said = choice(schedule, reached)
    kept = undo_collapse(schedule, checkpointer, rows, said)
    # The start has no metric; it is chosen where there is nothing else.
    meta = {**dict.fromkeys(keys, 2 * BEHIND), **kept}
    checkpointer.save_and_keep_only(meta=meta, min_keys=keys, num_to_keep=most)


def undo_collapse(
    schedule: RateSchedule,
    checkpointer: Checkpointer,
    rows: Sequence[CodebookUseRow],
    reached: Mapping[str, float],
) -> Mapping[str, float]:
    """Go back to the best checkpoint if the codes have collapsed.

    In a distributed training every process must call this.

    Arguments
    ---------
    schedule : RateSchedule
        λ, halved if need be, as is the price of bits in the search. Nothing
        is done while bits cost nothing.
    checkpointer : Checkpointer
        Holds at least one checkpoint, and what it has to restore.
    rows : Sequence[CodebookUseRow]
        Use of the codebooks in the validation.
    reached : Mapping[str, float]
        The validation's metric by its name, smaller is better, and what else
        a checkpoint is to say. A metric whose name ends in "percent" counts
        errors.

    Returns
    -------
    Mapping[str, float]
        The same of the model as it is now: after a collapse what the
        checkpoint says, as far as it does.
    """
    name, value = next(iter(reached.items()))
    best = checkpointer.find_checkpoint(min_key=name)
    reason = collapse(rows, name, value, best.meta[name] if best else None)
    found = reason is not None and schedule.active
    # What one process takes for a collapse is one for all of them.
    if not sum_over_processes(torch.tensor(float(found))) > 0:
        return reached
    # Before the first validation there is that of the start only.
    good = best or checkpointer.find_checkpoint(
        ckpt_predicate=lambda one: INTRA_EPOCH_CKPT_FLAG not in one.meta
    )
    too_much = schedule.current
    # What is frozen may not have been ready then.
    frozen = [copy.deepcopy(model.state_dict()) for model in schedule.alone]
    shares = [float(price.share) for price in schedule.prices]
    _restore(checkpointer, good)
    for model, state in zip(schedule.alone, frozen, strict=True):
        model.load_state_dict(state)
    for price, share in zip(schedule.prices, shares, strict=True):
        price.halve(share)
    schedule.halve()
    left = [f"{schedule.current:.3g}"]
    # All parts of a quantizer have the same.
    left += [
        f"assignment_weight {one.reached:.3g}" for one in schedule.prices[:1]
    ]
    logger.warning(
        f"the codes collapsed with rate_weight {too_much:.3g} ({reason}): "
        f"back to {good.path.name}, going on with {' and '.join(left)}"
    )
    return {key: good.meta[key] for key in reached if key in good.meta}


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


def collapse(
    rows: Sequence[CodebookUseRow],
    name: str,
    value: float,
    best: float | None,
) -> str | None:
    """How one sees that the codes have collapsed.

    Arguments
    ---------
    rows : Sequence[CodebookUseRow]
        Use of the codebooks.
    name : str
        Name of the metric.
    value : float
        The metric.
    best : float | None
        The best metric so far, if there is one.

    Returns
    -------
    str | None
        A few words; None if they have not.

    Example
    -------
    >>> rows = [CodebookUseRow(0, 256, 40.0, 100.0)]
    >>> collapse(rows, "wer_percent", 12.0, best=8.0)
    >>> collapse(rows, "wer_percent", 75.0, best=8.0)
    'wer_percent 75.0 after 8.0'
    """
    perplexity = max((row.perplexity for row in rows), default=0.0)
    if 0.0 < perplexity < LEAST_PERPLEXITY:
        return f"perplexity {perplexity:.2f}"
    if best is not None and name.endswith("percent"):
        right, was_right = (max(100.0 - one, 0.0) for one in (value, best))
        if right < KEPT * was_right:
            return f"{name} {value:.1f} after {best:.1f}"
    return None


def _restore(checkpointer: Checkpointer, checkpoint: Checkpoint) -> None:
    """Load a checkpoint, except what counts the time."""
    parts = checkpointer.recoverables
    parts = {name: parts[name] for name in RESTORED if name in parts}
    Checkpointer(checkpointer.checkpoints_dir, parts).load_checkpoint(
        checkpoint
    )
