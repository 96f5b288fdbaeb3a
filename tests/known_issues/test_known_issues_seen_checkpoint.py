"""Two processes waited for each other for ever after saving a checkpoint.

The first process gives a checkpoint its name last. The second one could list
the checkpoints before that, found one less than the first, and deleted one
less: one was then at a barrier and the other at a broadcast. Saving now ends
when all processes can see the checkpoint.
"""

import os
import time
from datetime import timedelta
from pathlib import Path

import pytest
import torch

from speechbrain_acom.training.checkpoints import WholeCheckpointer

pytestmark = pytest.mark.skipif(
    not torch.distributed.is_gloo_available(), reason="torch without gloo"
)


def _slow(rename):
    def slowly(path, target):
        time.sleep(1)
        return rename(path, target)

    return slowly


def _process(rank, folder):
    # By it SpeechBrain knows the first process.
    os.environ["RANK"] = os.environ["LOCAL_RANK"] = str(rank)
    torch.distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder}/meeting",
        rank=rank,
        world_size=2,
        timeout=timedelta(seconds=60),
    )
    Path.rename = _slow(Path.rename)
    saving = WholeCheckpointer(
        f"{folder}/save", {"model": torch.nn.Linear(1, 1)}
    )
    saving.save_checkpoint(meta={"loss": 1.0})
    seen = [checkpoint.path.name for checkpoint in saving.find_checkpoints()]
    Path(folder, f"seen_{rank}").write_text(" ".join(seen))
    torch.distributed.barrier()
    # All is said: threads of gloo now and then abort when they are ended.
    os._exit(0)


def test_every_process_sees_what_was_saved(tmp_path):
    torch.multiprocessing.spawn(_process, (str(tmp_path),), nprocs=2)
    first, second = (tmp_path / f"seen_{rank}" for rank in range(2))
    assert first.read_text().startswith("CKPT+")
    assert first.read_text() == second.read_text()
