"""Random numbers and counts that a resumed training goes on from."""

import random

import numpy as np
import pytest
import torch
from training_helpers import brain_in, dataset_of, fit

from speechbrain_acom.metrics.codebook_use import CodebookUse
from speechbrain_acom.training.resume import TrainingState
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


def test_no_checkpoint_lies_between_the_batches_of_a_step(tmp_path):
    run_opts = {"grad_accumulation_factor": 3, "ckpt_interval_steps": 1}
    brain = brain_in(tmp_path, run_opts=run_opts)
    saved = []
    save = brain._save_intra_epoch_ckpt
    brain._save_intra_epoch_ckpt = lambda: (saved.append(brain.step), save())
    # Batches of two: the third step of three has nothing to read.
    fit(brain, dataset_of([4] * 18, unreadable="ef"))
    assert saved == [6, 9]
