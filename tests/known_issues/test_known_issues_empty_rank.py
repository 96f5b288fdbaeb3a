"""A process without a readable batch left the others waiting for ever.

Processes exchange gradients at every training step. One that skipped its
batch did not take part, and the others waited for it. The processes now
agree before every step: all take it, or none does.
"""

import math
import os
from datetime import timedelta

import pytest
import speechbrain as sb
import torch
from training_helpers import batch_of, brain_in, dataset_of

pytestmark = pytest.mark.skipif(
    not torch.distributed.is_gloo_available(), reason="torch without gloo"
)


def _process(rank, folder):
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder}/meeting",
        rank=rank,
        world_size=2,
        # Processes that do not agree wait for each other: fail instead.
        timeout=timedelta(seconds=60),
    )
    brain = brain_in(f"{folder}/{rank}")
    brain.init_optimizers()
    brain.modules.train()
    brain.on_stage_start(sb.Stage.TRAIN)
    losses, steps = [], []
    for unreadable in ("ab" if rank else "", ""):
        batch = batch_of(dataset_of([4, 4], unreadable))
        losses.append(float(brain.fit_batch(batch)))
        steps.append(brain.optimizer_step)
    torch.save((losses, steps), f"{folder}/{rank}.pt")
    torch.distributed.barrier()
    # All is said: threads of gloo now and then abort when they are ended.
    os._exit(0)


def test_all_processes_take_a_step_or_none(tmp_path):
    torch.multiprocessing.spawn(_process, (str(tmp_path),), nprocs=2)
    for rank in range(2):
        losses, steps = torch.load(tmp_path / f"{rank}.pt")
        assert [math.isnan(loss) for loss in losses] == [True, False]
        assert steps == [0, 1]
