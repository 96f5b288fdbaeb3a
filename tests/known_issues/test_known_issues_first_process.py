"""After a distributed training every process took itself for the first one.

Which process is the first was asked after the process group had been left,
and without a group every process is its own first: all of them exported and
wrote into the same files. It is now asked before.
"""

import os
from datetime import timedelta

import pytest
import torch

from speechbrain_acom.studies import recipe

pytestmark = pytest.mark.skipif(
    not torch.distributed.is_gloo_available(), reason="torch without gloo"
)


def _process(rank, folder):
    os.environ["RANK"] = str(rank)  # as torchrun sets it
    torch.distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder}/meeting",
        rank=rank,
        world_size=2,
        timeout=timedelta(seconds=60),
    )
    goes_on = recipe._alone()
    left = not torch.distributed.is_initialized()
    torch.save((goes_on, left), f"{folder}/{rank}.pt")


def test_only_the_first_process_goes_on(tmp_path):
    torch.multiprocessing.spawn(_process, (str(tmp_path),), nprocs=2)
    assert torch.load(tmp_path / "0.pt") == (True, True)
    assert torch.load(tmp_path / "1.pt") == (False, True)
