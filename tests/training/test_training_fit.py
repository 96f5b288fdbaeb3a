import logging
from functools import partial

import pytest
import torch
from training_helpers import (
    CHANNELS,
    RVQ,
    PoolingCloud,
    WorseAndWorse,
    brain_in,
    dataset_of,
    evaluate_on,
    fit,
    head_of,
    rates,
)

from speechbrain_acom.errors import ConfigurationError, DataError
from speechbrain_acom.quantizers import Bypass, ResidualVectorQuantizer
from speechbrain_acom.training import ClassificationBrain, start
from speechbrain_acom.training import brain as brain_module

LOGGER = brain_module.__name__


class Starting(ResidualVectorQuantizer):
    """Notes the frames that it starts from."""

    started: list

    def initialize(self, frames):
        self.started.append(frames)
        super().initialize(frames)


@pytest.fixture
def starting():
    started = []
    kind = type("Starting", (Starting,), {"started": started})
    return started, partial(kind, codebook_size=8, codebook_dim=2)


def test_quantizer_starts_once_from_every_real_frame(tmp_path, starting):
    started, quantizer = starting
    fit(brain_in(tmp_path, quantizer=quantizer, epochs=2), dataset_of([5, 3]))
    [frames] = started
    assert frames.shape == (8, CHANNELS)


def test_quantizer_starts_from_merged_frames(tmp_path, starting):
    started, quantizer = starting
    brain = brain_in(tmp_path, quantizer=quantizer, cut={"merge": 2})
    fit(brain, dataset_of([5, 3]))
    assert started[0].shape == (3 + 2, CHANNELS)


def test_quantizer_starts_from_no_more_frames_than_needed(
    tmp_path, starting, monkeypatch
):
    monkeypatch.setattr(start, "INITIALIZATION_FRAMES", 6)
    started, quantizer = starting
    fit(brain_in(tmp_path, quantizer=quantizer), dataset_of([5] * 8))
    assert len(started[0]) == 10


def test_resumed_training_goes_on_and_does_not_start_anew(tmp_path, starting):
    started, quantizer = starting
    first = fit(brain_in(tmp_path, quantizer=quantizer), dataset_of([5, 3]))
    second = brain_in(tmp_path, quantizer=quantizer, epochs=2)
    seen = []
    second.on_fit_batch_start = lambda batch, step: seen.append(
        {k: v.clone() for k, v in second.split.state_dict().items()}
    )
    fit(second, dataset_of([5, 3]))
    assert len(started) == 1
    [(meta, _, _)] = second.hparams.train_logger.epochs
    assert meta["epoch"] == 2
    assert second.hparams.epoch_counter.current == 2
    assert len(seen) == 1
    for name, value in first.split.state_dict().items():
        assert torch.equal(seen[0][name], value), name


def test_bypass_is_not_started(tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr(
        Bypass, "initialize", lambda _, frames: started.append(frames)
    )
    fit(brain_in(tmp_path, quantizer=Bypass), dataset_of([5, 3]))
    assert not started


def test_normalizer_without_statistics_learns_them_at_the_start(tmp_path):
    brain = brain_in(tmp_path, epochs=0)
    fit(brain, dataset_of([5, 3, 4]))
    assert brain.modules.normalize.count == 12


def test_schedule_counts_steps_and_not_accumulated_batches(tmp_path):
    expected = [0.05, 0.1, *(0.1 * left / 4 for left in (3, 2, 1, 0))]
    taken = rates(tmp_path, epochs=3, grad_accumulation_factor=2)
    assert taken == pytest.approx(expected)


def test_unreadable_files_are_left_out_and_counted(tmp_path, caplog):
    brain = brain_in(tmp_path, epochs=2)
    with caplog.at_level(logging.WARNING, logger=LOGGER):
        # One batch has half of its files left, one has none.
        fit(brain, dataset_of([5, 3, 4, 5, 3, 4], unreadable="bef"))
    assert set(brain.skipped.reasons) == {"b", "e", "f"}
    assert "3 unreadable files left out" in caplog.text
    assert brain.optimizer_step == 2 * 2
    assert len(brain.hparams.train_logger.epochs) == 2


@pytest.mark.parametrize("quantizer", [Bypass, RVQ])
def test_training_set_without_a_readable_file_is_an_error(tmp_path, quantizer):
    brain = brain_in(tmp_path, quantizer=quantizer)
    with pytest.raises(DataError, match="found no \\w+") as caught:
        fit(brain, dataset_of([5, 3], unreadable="ab"))
    assert "\n" not in str(caught.value)


def test_validation_set_without_a_readable_file_is_an_error(tmp_path):
    brain = brain_in(tmp_path)
    with pytest.raises(DataError, match="^valid data: .* readable files"):
        fit(brain, dataset_of([5]), dataset_of([5, 3], unreadable="ab"))


def test_batch_larger_than_the_data_is_an_error(tmp_path):
    brain = brain_in(tmp_path)
    with pytest.raises(ConfigurationError, match="^batch_size: found 9"):
        fit(brain, dataset_of([5, 3]), batch_size=9, drop_last=True)


def test_classifier_needs_two_clips_a_batch(tmp_path):
    brain = brain_in(tmp_path, kind=ClassificationBrain, cloud=PoolingCloud)
    with pytest.raises(ConfigurationError, match="^batch_size: found 1"):
        fit(brain, dataset_of([5, 3]), batch_size=1)


def test_test_only_needs_a_checkpoint_and_does_not_train(tmp_path):
    run_opts = {"test_only": True}
    brain = brain_in(tmp_path, run_opts=run_opts)
    with pytest.raises(ConfigurationError, match="^--test_only: found 'no che"):
        fit(brain, dataset_of([5, 3]))
    fit(brain_in(tmp_path), dataset_of([5, 3]))
    brain = brain_in(tmp_path, epochs=9, run_opts=run_opts)
    fit(brain, dataset_of([5, 3]))
    assert brain.hparams.train_logger.epochs == []


def test_checkpoint_of_another_model_is_an_error_in_one_line(tmp_path):
    fit(brain_in(tmp_path), dataset_of([5, 3]))
    larger = partial(ResidualVectorQuantizer, codebook_size=9, codebook_dim=2)
    brain = brain_in(tmp_path, quantizer=larger, epochs=2)
    with pytest.raises(ConfigurationError, match="^output_folder: ") as caught:
        fit(brain, dataset_of([5, 3]))
    message = str(caught.value)
    assert str(tmp_path) in message and "codebooks.0.entries" in message
    assert "\n" not in message


def test_best_checkpoint_is_tested(tmp_path):
    brain = brain_in(tmp_path, kind=WorseAndWorse, epochs=3)
    fit(brain, dataset_of([5, 3]))
    best = brain.checkpointer.find_checkpoint(min_key="clips")
    assert best.meta["clips"] == 1
    evaluate_on(brain, dataset_of([5]))
    assert torch.equal(brain.split.cloud_half.head.weight, head_of(best))


def test_untrained_model_can_be_tested(tmp_path):
    brain = brain_in(tmp_path, epochs=0, avg_checkpoints=5)
    fit(brain, dataset_of([5, 3]))
    evaluate_on(brain, dataset_of([5, 3]))
    assert brain.scores() == {"clips": 2}
