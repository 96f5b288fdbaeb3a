import pytest
import torch
from speechbrain.utils.checkpoints import Checkpointer

from speechbrain_acom.errors import ConfigurationError
from speechbrain_acom.training.checkpoints import WholeCheckpointer, same_model


def checkpointer(folder, kind=WholeCheckpointer, value=0.0):
    model = torch.nn.Linear(1, 1)
    torch.nn.init.constant_(model.weight, value)
    other = torch.nn.Linear(1, 1)
    return kind(folder, {"model": model, "other": other})


def test_finished_checkpoint_is_one_of_speechbrain(tmp_path):
    checkpointer(tmp_path, value=3.0).save_checkpoint(meta={"loss": 2.0})
    resuming = checkpointer(tmp_path, kind=Checkpointer)
    assert resuming.recover_if_possible(min_key="loss").meta["loss"] == 2.0
    assert resuming.recoverables["model"].weight == 3.0


def test_kept_checkpoints_are_the_best_and_the_last(tmp_path):
    saving = checkpointer(tmp_path)
    for loss in (1.0, 3.0, 2.0):
        saving.save_and_keep_only(meta={"loss": loss}, min_keys=["loss"])
    kept = [checkpoint.meta["loss"] for checkpoint in saving.find_checkpoints()]
    assert sorted(kept) == [1.0, 2.0]


def test_other_errors_than_of_weights_are_passed_on():
    with pytest.raises(RuntimeError, match="^out of memory$"):
        with same_model("save"):
            raise RuntimeError("out of memory")


def test_weights_that_do_not_fit_are_named():
    with pytest.raises(ConfigurationError, match="for weight: copying"):
        with same_model("save"):
            state = {"weight": torch.ones(2, 2), "bias": torch.ones(2)}
            torch.nn.Linear(3, 2).load_state_dict(state)
