"""A training that was killed while it saved could not be resumed.

SpeechBrain writes the file that makes a folder a checkpoint before the
weights. After a kill in between, the newest checkpoint was one without
weights, and loading it failed on every start. That file now gets its name
last: what was not finished is no checkpoint, and the one before is taken.
"""

import pytest
import torch

from speechbrain_acom.training.checkpoints import WholeCheckpointer


class Killed(Exception):
    pass


def checkpointer(folder, value):
    modules = {name: torch.nn.Linear(1, 1) for name in ("model", "other")}
    torch.nn.init.constant_(modules["model"].weight, value)
    return WholeCheckpointer(folder, modules)


def kill_at(checkpointer, name):
    def hook(obj, path):
        path.write_bytes(b"half of it")
        raise Killed

    checkpointer.custom_save_hooks[name] = hook


@pytest.mark.parametrize("name", ["model", "other"])
def test_checkpoint_that_was_not_finished_is_not_seen(tmp_path, name):
    saving = checkpointer(tmp_path, value=1.0)
    saving.save_checkpoint(meta={"loss": 2.0})
    kill_at(saving, name)
    with pytest.raises(Killed):
        saving.save_and_keep_only(meta={"loss": 1.0}, min_keys=["loss"])
    resuming = checkpointer(tmp_path, value=0.0)
    assert len(resuming.find_checkpoints()) == 1
    loaded = resuming.recover_if_possible(min_key="loss")
    assert loaded.meta["loss"] == 2.0
    assert resuming.recoverables["model"].weight == 1.0
