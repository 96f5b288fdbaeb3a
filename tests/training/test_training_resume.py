"""Random numbers and counts that a resumed training goes on from."""

import os
import random

import numpy as np
import pytest
import speechbrain as sb
import torch
from training_helpers import EnergyBrain, brain_in, dataset_of, fit

from speechbrain_acom.errors import ConfigurationError
from speechbrain_acom.metrics.codebook_use import CodebookUse
from speechbrain_acom.training.resume import TrainingState
from speechbrain_acom.training.resume import _random_state as state_of_numbers
from speechbrain_acom.training.stage import RunningMeans

DATA = dataset_of([4] * 6)


class Counts:
    def __init__(self):
        self.means, self.codebook_use = RunningMeans(), CodebookUse((4, 2))
        self.means.update("loss", torch.tensor(2.0))
        self.codebook_use.update(torch.tensor([[[1, 0], [3, 0]]]))


def drawn():
    return random.random(), np.random.random(), torch.rand(1).item()


@pytest.mark.parametrize("end_of_epoch", [False, True])
def test_numbers_are_drawn_as_if_nothing_had_happened(tmp_path, end_of_epoch):
    state = TrainingState(Counts())
    state.save(tmp_path / "state.ckpt")
    expected = drawn()
    drawn()
    state.load(tmp_path / "state.ckpt", end_of_epoch)
    if not end_of_epoch:
        # Starting to fetch draws a number, too.
        assert drawn() != expected
        state.batch_fetched()
    assert drawn() == expected
    state.batch_fetched()
    assert drawn() != expected


def test_counts_go_on_in_the_middle_of_an_epoch(tmp_path):
    TrainingState(Counts()).save(tmp_path / "state.ckpt")
    later = Counts()
    state = TrainingState(later)
    state.load(tmp_path / "state.ckpt", end_of_epoch=False)
    later.means, later.codebook_use = RunningMeans(), CodebookUse((4, 2))
    state.batch_fetched()
    later.means.update("loss", torch.tensor(4.0))
    assert later.means.values() == {"loss": 3.0}
    first, second = later.codebook_use.rows()
    assert (first.frames, first.perplexity) == (2, 2.0)
    assert (second.used_percent, second.perplexity) == (50.0, 1.0)


def test_a_checkpoint_from_before_is_loaded_without(tmp_path):
    brain = fit(brain_in(tmp_path), DATA)
    [saved] = brain.checkpointer.list_checkpoints()
    (saved.path / "training_state.ckpt").unlink()
    again = fit(brain_in(tmp_path, epochs=2), DATA)
    assert again.hparams.epoch_counter.current == 2


class KilledBrain(EnergyBrain):
    """Ends in the first validation, after a checkpoint of the last batch."""

    def on_stage_start(self, stage, epoch=None):
        super().on_stage_start(stage, epoch)
        if stage == sb.Stage.VALID:
            raise KeyboardInterrupt


def test_a_checkpoint_after_the_last_batch_is_gone_on_from(tmp_path):
    run_opts = {"ckpt_interval_steps": 3}
    settings = {"run_opts": run_opts, "epochs": 2}
    whole = fit(brain_in(tmp_path / "whole", **settings), DATA)
    with pytest.raises(KeyboardInterrupt):
        fit(brain_in(tmp_path / "part", kind=KilledBrain, **settings), DATA)
    part = fit(brain_in(tmp_path / "part", **settings), DATA)
    for name, weight in whole.split.state_dict().items():
        assert torch.equal(weight, part.split.state_dict()[name]), name
    expected = whole.hparams.train_logger.epochs
    assert part.hparams.train_logger.epochs == expected


def test_only_a_whole_epoch_is_tested(tmp_path):
    settings = {"run_opts": {"ckpt_interval_steps": 1}}
    with pytest.raises(KeyboardInterrupt):
        fit(brain_in(tmp_path, kind=KilledBrain, **settings), DATA)
    assert list(tmp_path.glob("CKPT*"))
    brain = brain_in(tmp_path, run_opts={"test_only": True})
    with pytest.raises(ConfigurationError, match="of a whole epoch in"):
        fit(brain, DATA)


def _process(rank, folder):
    """One of two: it counts and draws something of its own."""
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2")
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2
    )
    torch.manual_seed(rank)
    brain = Counts()
    brain.means.update("loss", torch.tensor(float(rank)))
    state = TrainingState(brain)
    state.save(folder / "state.ckpt")
    torch.distributed.barrier()
    expected = torch.rand(1)
    brain.means = RunningMeans()
    state.load(folder / "state.ckpt", end_of_epoch=False)
    state.batch_fetched()
    seen = (expected.item(), torch.rand(1).item(), brain.means.values()["loss"])
    torch.save(seen, folder / f"seen_{rank}.pt")
    torch.distributed.barrier()


def test_every_process_goes_on_with_its_own(tmp_path):
    torch.multiprocessing.spawn(_process, (tmp_path,), nprocs=2)
    first, second = (torch.load(tmp_path / f"seen_{n}.pt") for n in range(2))
    for expected, drawn, _ in (first, second):
        assert drawn == expected
    assert first[0] != second[0]
    # Two of the start, and what was counted in each.
    assert (first[2], second[2]) == (1.0, 1.5)


def test_fewer_processes_go_on_with_what_there_is(tmp_path):
    states = [{"random": state_of_numbers()} for _ in range(2)]
    torch.save(states[:1], tmp_path / "state.ckpt")
    counts = Counts()
    state = TrainingState(counts)
    state.load(tmp_path / "state.ckpt", end_of_epoch=False)
    state.batch_fetched()
    # Nothing was counted there: what was counted here stays.
    assert counts.means.values() == {"loss": 2.0}


def test_no_checkpoint_lies_between_the_batches_of_a_step(tmp_path):
    run_opts = {"grad_accumulation_factor": 3, "ckpt_interval_steps": 1}
    brain = brain_in(tmp_path, run_opts=run_opts)
    saved = []
    save = brain._save_intra_epoch_ckpt
    brain._save_intra_epoch_ckpt = lambda: (saved.append(brain.step), save())
    # Batches of two: the third step of three has nothing to read.
    fit(brain, dataset_of([4] * 18, unreadable="ef"))
    assert saved == [6, 9]
