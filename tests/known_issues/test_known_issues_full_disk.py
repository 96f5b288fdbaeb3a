"""A full disk ended a training with a report of torch's zip writer.

torch.save says nothing of the disk when it is full, only that its position in
the file is not the one that it expected. The error now says how much is free,
and the last whole checkpoint is still the one to go on from.
"""

import pytest
import torch

from speechbrain_acom.errors import DataError
from speechbrain_acom.storage import writing_into
from speechbrain_acom.training.checkpoints import WholeCheckpointer

FULL = "[enforce fail at inline_container.cc:672] . unexpected pos 64 vs 0"


def test_checkpoint_that_does_not_fit_is_one_line(tmp_path, monkeypatch):
    model = torch.nn.Linear(1, 1)
    checkpointer = WholeCheckpointer(tmp_path, {"model": model})
    whole = checkpointer.save_checkpoint()

    def full(module, path):
        raise RuntimeError(f"{FULL}\nmore of it")

    checkpointer.add_recoverable("model", model, custom_save_hook=full)
    with pytest.raises(DataError, match="MB free") as caught:
        checkpointer.save_checkpoint()
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    [left] = checkpointer.list_checkpoints()
    assert left.path == whole.path


def test_folder_that_cannot_be_written_to_is_one_line(tmp_path):
    with pytest.raises(DataError, match="No space left"):
        with writing_into(tmp_path):
            raise OSError(28, "No space left on device")


def test_other_errors_pass(tmp_path):
    with pytest.raises(RuntimeError, match="shape"):
        with writing_into(tmp_path):
            raise RuntimeError("wrong shape")
