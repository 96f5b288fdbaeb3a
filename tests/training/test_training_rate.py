"""λ: its ramp, its part of the loss, and what checkpoints are chosen by."""

from functools import partial

import pytest
import speechbrain as sb
import torch
from training_helpers import (
    CHANNELS,
    batch_of,
    brain_in,
    dataset_of,
    fit,
)

from speechbrain_acom.errors import ConfigurationError
from speechbrain_acom.quantizers import Bypass, RateAwareVectorQuantizer
from speechbrain_acom.training.checkpoints import WholeCheckpointer
from speechbrain_acom.training.rate import RateSchedule, choice

RATED = partial(
    RateAwareVectorQuantizer,
    codebook_size=8,
    codebook_dim=2,
    recent_frames=1,
    dead_threshold=0.0,
)
DATA = [40] * 8


def schedule_of(weight=0.4, ramp_epochs=4.0, batches_per_epoch=10):
    schedule = RateSchedule(weight, ramp_epochs)
    quantizer = RATED(channels=CHANNELS)
    schedule.begin(quantizer, batches_per_epoch, epochs=100)
    return schedule


@pytest.mark.parametrize(
    ("epoch", "batch", "expected"),
    [(1, 0, 0.0), (1, 5, 0.05), (3, 0, 0.2), (5, 0, 0.4), (9, 3, 0.4)],
)
def test_ramp_is_linear_in_epochs_and_their_parts(epoch, batch, expected):
    schedule = schedule_of()
    schedule.advance(epoch, batch)
    assert schedule.current == pytest.approx(expected)


def test_without_a_ramp_all_of_it_is_there_at_once():
    assert schedule_of(ramp_epochs=0.0).current == 0.4
    assert schedule_of(weight=0.0, ramp_epochs=0.0).current == 0.0


def test_half_of_what_was_too_much_is_the_limit_from_then_on():
    schedule = schedule_of()
    schedule.advance(3, 0)
    schedule.halve()
    assert schedule.current == pytest.approx(0.1)
    schedule.advance(9, 0)
    assert schedule.current == pytest.approx(0.1)


@pytest.mark.parametrize("halved", [False, True])
def test_limit_survives_a_checkpoint(tmp_path, halved):
    saved, loaded = schedule_of(), schedule_of()
    saved.advance(9, 0)
    if halved:
        saved.halve()
    WholeCheckpointer(tmp_path, {"rate": saved}).save_checkpoint()
    WholeCheckpointer(tmp_path, {"rate": loaded}).recover_if_possible()
    loaded.advance(9, 0)
    assert loaded.current == saved.current == (0.2 if halved else 0.4)


@pytest.mark.parametrize("key", ["rate_weight", "rate_ramp_epochs"])
def test_numbers_below_zero_are_named(key):
    numbers = {"rate_weight": 0.1, "rate_ramp_epochs": 1.0, key: -1.0}
    with pytest.raises(ConfigurationError, match=f"^{key}: found -1.0"):
        RateSchedule(*numbers.values())


@pytest.mark.parametrize("quantizer", [Bypass])
def test_quantizer_without_a_rate_is_an_error(tmp_path, quantizer):
    brain = brain_in(tmp_path, quantizer=quantizer, rate_weight=0.1)
    with pytest.raises(ConfigurationError, match="^rate_weight: found 0.1"):
        fit(brain, dataset_of([5, 3]))


def test_weight_that_has_not_risen_yet_is_not_halved():
    schedule = schedule_of()
    schedule.advance(1, 0)
    schedule.halve()
    assert schedule.last == 0.4


def test_loss_has_the_rate_times_its_weight(tmp_path):
    losses = []
    for weight in (0.0, 0.25):
        folder = tmp_path / str(weight)
        brain = brain_in(folder, quantizer=RATED, rate_weight=weight)
        brain.on_stage_start(sb.Stage.TRAIN)
        batch = batch_of(dataset_of([5, 3]))
        result = brain.compute_forward(batch, sb.Stage.TRAIN)
        losses.append(brain.compute_objectives(result, batch, sb.Stage.TRAIN))
        assert brain.means.values()["rate"] == float(result.bottleneck.rate)
    torch.testing.assert_close(
        losses[1], losses[0] + 0.25 * result.bottleneck.rate
    )


def test_rate_and_its_weight_are_logged_every_epoch(tmp_path):
    brain = brain_in(
        tmp_path,
        quantizer=RATED,
        rate_weight=1e-3,
        rate_ramp_epochs=2.0,
        epochs=2,
    )
    fit(brain, dataset_of(DATA))
    logged = brain.hparams.train_logger.epochs
    weights = [meta["rate_weight"] for meta, _, _ in logged]
    assert weights == pytest.approx([0.5e-3, 1e-3])
    for _, trained, validated in logged:
        for name in ("rate", "hard_rate"):
            assert 0 < trained[name] <= 3.5
            assert 0 < validated[name] <= 3.5


def test_checkpoints_from_before_the_end_of_the_ramp_come_last():
    schedule = schedule_of(ramp_epochs=2.0)
    schedule.advance(2, 0)
    early = choice(schedule, {"error_percent": 1.0})
    schedule.advance(3, 0)
    late = choice(schedule, {"error_percent": 9.0})
    assert early["error_percent"] < late["error_percent"]
    key = "ramped_error_percent"
    assert early[key] > late[key] == late["error_percent"]


def test_without_weight_checkpoints_are_chosen_by_the_metric_alone():
    reached = {"error_percent": 1.0}
    assert choice(RateSchedule(0.0, ramp_epochs=5.0), reached) == reached
