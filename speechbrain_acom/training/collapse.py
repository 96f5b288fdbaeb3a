"""Codes that collapse, and a training that goes on from before.

With too large a λ a training ends at the cheapest codes of all, always the
same one, and it gets there suddenly. So λ rises slowly, every validation
looks for a collapse, and one that is found is undone: the model goes back to
the best checkpoint and on with half of the λ that was too much, and of what a
bit is worth where entries are chosen. Not to the last one: that one is often
on its way to the collapse already, and gets there with any λ.
"""

import copy
from collections.abc import Mapping, Sequence

import torch
from speechbrain.core import INTRA_EPOCH_CKPT_FLAG
from speechbrain.utils.checkpoints import Checkpoint, Checkpointer
from speechbrain.utils.logger import get_logger

from speechbrain_acom.metrics.codebook_use import CodebookUseRow
from speechbrain_acom.processes import sum_over_processes
from speechbrain_acom.training.rate import (
    BEHIND,
    RateSchedule,
    choice,
    choice_key,
)

logger = get_logger(__name__)

# Codes have collapsed when no codebook has a perplexity of this: at 25 frames a
# second that is less than two bits a second. Good codes come down to 1.5.
LEAST_PERPLEXITY = 1.05
# Or when less than this part of what the best model got right is left.
KEPT = 0.5
# What goes back to a checkpoint. The time does not: epochs and the learning
# rate go on, so that a training ends when it was to end.
RESTORED = ("split", "normalize", "optimizer")


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
