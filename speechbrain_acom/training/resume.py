"""What a training goes on with beside weights: random numbers, counts.

With it a training that was killed in the middle of an epoch ends as one that
was not, where the hardware gives the same sums twice and as many processes go on.
"""

import random
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from speechbrain.utils.checkpoints import (
    mark_as_loader,
    mark_as_saver,
    register_checkpoint_hooks,
)
from speechbrain.utils.distributed import get_rank, if_main_process

from speechbrain_acom.dataio import ReadableBatch
from speechbrain_acom.metrics.codebook_use import CodebookUse
from speechbrain_acom.processes import gather_from_processes
from speechbrain_acom.training.readable import ReadableBrain
from speechbrain_acom.training.stage import RunningMeans

State = Mapping[str, Any]


class Counting(Protocol):
    """What counts over a stage: a Brain."""

    means: RunningMeans
    codebook_use: CodebookUse


@partial(register_checkpoint_hooks, save_on_main_only=False)
class TrainingState:
    """Saves and loads the generators of random numbers, and the counts.

    At the end of an epoch there is nothing to count, and the next one starts
    with the generators as they were. In the middle, both are put back when the
    next batch was fetched, since starting to fetch draws a number as well. In
    a distributed training every process gets its own back; all of them call
    :meth:`save`.

    Arguments
    ---------
    brain : Counting
        Whose counts they are.

    Example
    -------
    >>> brain = type("Brain", (), {})()
    >>> brain.means, brain.codebook_use = RunningMeans(), CodebookUse((4,))
    >>> state, path = TrainingState(brain), getfixture("tmp_path") / "state.ckpt"
    >>> state.save(path)
    >>> drawn = torch.rand(1)
    >>> state.load(path, end_of_epoch=False)
    >>> state.batch_fetched()
    >>> bool(torch.rand(1) == drawn)
    True
    """

    def __init__(self, brain: Counting) -> None:
        self._brain = brain
        self._waiting: State | None = None

    @mark_as_saver
    def save(self, path: str | Path) -> None:
        """Write the state of now, of all processes."""
        state = {"random": _random_state()}
        # Before the first stage nothing was counted.
        if hasattr(self._brain, "means"):
            state["means"] = self._brain.means.state()
            state["codebook_use"] = self._brain.codebook_use.state()
        states = gather_from_processes(state)
        if if_main_process():
            torch.save(states, path)

    @mark_as_loader
    def load(self, path: str | Path, end_of_epoch: bool) -> None:
        """Read a state, to go on from it."""
        states = torch.load(path, map_location="cpu", weights_only=True)
        self._waiting, rank = None, get_rank() or 0
        # There may have been fewer processes: a new one has counted nothing.
        state = (
            states[rank]
            if rank < len(states)
            else {"random": states[0]["random"]}
        )
        if end_of_epoch:
            _set_random_state(state["random"])
        else:
            self._waiting = state

    def batch_fetched(self) -> None:
        """Go on from what was loaded, if it was.

        Also called where no batch is left of the epoch.
        """
        if self._waiting is None:
            return
        state, self._waiting = self._waiting, None
        if "means" in state:
            self._brain.means.load_state(state["means"])
            self._brain.codebook_use.load_state(state["codebook_use"])
        _set_random_state(state["random"])


class ResumableBrain(ReadableBrain):
    """A Brain whose training may be killed at any time.

    Arguments
    ---------
    *args, **kwargs
        As for ``speechbrain.core.Brain``.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._state = TrainingState(self)
        # Whether no gradient waits for a step.
        self._step_taken = True
        if self.checkpointer is not None:
            self.checkpointer.add_recoverable(
                "training_state", self._state, optional_load=True
            )

    def on_fit_batch_start(
        self, batch: ReadableBatch, should_step: bool
    ) -> None:
        """Go on from where a checkpoint was saved, if it was loaded."""
        self.go_on()

    def go_on(self) -> None:
        """Put numbers and counts back that a checkpoint had, once."""
        self._state.batch_fetched()

    def on_fit_batch_end(
        self,
        batch: ReadableBatch,
        outputs: Any,
        loss: torch.Tensor,
        should_step: bool,
    ) -> None:
        """Remember whether a gradient waits for a step."""
        self._step_taken = should_step

    def _should_save_intra_epoch_ckpt(self, *since: Any) -> bool:
        """Never between two batches of a step: gradients are not saved."""
        wanted = super()._should_save_intra_epoch_ckpt(*since)
        return wanted and self._step_taken


def _random_state() -> State:
    """That of Python, numpy and torch, on the CPU and this process's device."""
    name, keys, position, has_gauss, gauss = np.random.get_state()
    return {
        "python": random.getstate(),
        "numpy": (name, keys.tolist(), position, has_gauss, gauss),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if _on_cuda() else None,
    }


def _set_random_state(state: State) -> None:
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), *rest))
    torch.set_rng_state(state["torch"])
    if state["cuda"] is not None and _on_cuda():
        torch.cuda.set_rng_state(state["cuda"])


def _on_cuda() -> bool:
    """Whether this process uses a device: asking would start it."""
    return torch.cuda.is_available() and torch.cuda.is_initialized()
