"""A training that is killed in the middle of an epoch ends as one that is not."""

import subprocess
import time

import pytest
from recipe_runs import ASR, TINY_ASR, TINY_RVQ, command, finished, run

HPARAMS = "../../../../hparams"
# All that draws numbers or counts: dropout, masks, entries that are replaced,
# moving averages, steps of two batches.
SETTINGS = {
    **TINY_ASR,
    "batch_size": 1,
    "number_of_epochs": 3,
    "pretrained_path": "",
    "dropout": 0.1,
    "augmentation": f"!include:{HPARAMS}/augmentations/specaugment.yaml",
    "quantizer": f"!include:{HPARAMS}/quantizers/rvq_ema.yaml "
    f"{{codebook_size: {TINY_RVQ['codebook_size']}, codebook_dim: 4, "
    "dead_threshold: 0.5}",
}
FLAGS = ("--ckpt_interval_steps=1", "--grad_accumulation_factor=2")


def second_epoch_begun(folder):
    """Whether a checkpoint from inside the second epoch is there."""
    for path in folder.glob("save/CKPT*/CKPT.yaml"):
        try:
            inside = "end-of-epoch: false" in path.read_text()
            epoch = path.with_name("counter.ckpt").read_text().strip()
        except FileNotFoundError:
            continue  # the next one has taken its place
        if inside and epoch == "2":
            return True
    return False


def wait_and_kill(process, folder):
    deadline = time.monotonic() + 120
    while not second_epoch_begun(folder):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.002)
    process.kill()
    process.wait()


@pytest.fixture(scope="module")
def whole(speech, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "run"
    return finished(
        run(ASR, "mini_rvq", folder, *FLAGS, data_folder=speech, **SETTINGS)
    )


def test_a_killed_training_ends_as_one_that_was_not(whole, speech, tmp_path):
    folder = tmp_path / "run"
    arguments, options = command(
        ASR, "mini_rvq", folder, *FLAGS, data_folder=speech, **SETTINGS
    )
    with open(tmp_path / "killed.txt", "w") as log:
        process = subprocess.Popen(arguments, stdout=log, stderr=log, **options)
        wait_and_kill(process, folder)
    assert not (folder / "results.json").exists()
    done = finished(
        run(ASR, "mini_rvq", folder, *FLAGS, data_folder=speech, **SETTINGS)
    )
    assert "into epoch 2" in done.output and "into epoch 1" not in done.output
    logged = [one.folder / "train_log.txt" for one in (whole, done)]
    first, second = (path.read_text() for path in logged)
    assert first.count("\n") == 4
    assert first == second
    assert done.row == whole.row
