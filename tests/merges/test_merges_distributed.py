"""Two processes calibrate one merge and agree on it."""

import os
from datetime import timedelta

import pytest
import torch

from speechbrain_acom.merges import SimilarMerge

PROCESSES = 2

pytestmark = pytest.mark.skipif(
    not torch.distributed.is_gloo_available(), reason="torch without gloo"
)


def _calibrated(scale):
    merge = SimilarMerge(channels=3, factor=3)
    values = torch.randn(2, 50, 3, generator=torch.Generator().manual_seed(0))
    merge.calibrate([(scale * values.cumsum(1), None)])
    return merge.partition.penalty


def _process(rank, folder):
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder}/meeting",
        rank=rank,
        world_size=PROCESSES,
        # Processes that disagree wait for each other: fail instead.
        timeout=timedelta(seconds=120),
    )
    torch.save(_calibrated(1.0 + rank), f"{folder}/{rank}.pt")
    torch.distributed.barrier()
    # All is said: threads of gloo now and then abort when they are ended.
    os._exit(0)


def test_all_processes_have_the_penalty_of_the_first(tmp_path):
    torch.multiprocessing.spawn(_process, (str(tmp_path),), nprocs=PROCESSES)
    first, second = (
        torch.load(tmp_path / f"{rank}.pt") for rank in range(PROCESSES)
    )
    assert first == second == _calibrated(1.0) != _calibrated(2.0)
