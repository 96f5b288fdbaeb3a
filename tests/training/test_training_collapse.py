"""Collapses of the codes: found, undone, and not gone back to."""

from functools import partial

import pytest
import torch
from training_helpers import (
    CHANNELS,
    EnergyBrain,
    brain_in,
    dataset_of,
    evaluate_on,
    fit,
)

from speechbrain_acom.metrics.codebook_use import CodebookUseRow
from speechbrain_acom.quantizers import RateAwareVectorQuantizer
from speechbrain_acom.training import collapse as collapse_module
from speechbrain_acom.training.collapse import (
    collapse,
    save_or_undo,
    undo_collapse,
)
from speechbrain_acom.training.rate import BEHIND, RateSchedule

RATED = partial(
    RateAwareVectorQuantizer,
    codebook_size=8,
    codebook_dim=2,
    recent_frames=1,
    dead_threshold=0.0,
)
DATA = [40] * 8


def rows_of(*perplexities):
    return [CodebookUseRow(k, 8, p, 50.0) for k, p in enumerate(perplexities)]


@pytest.mark.parametrize(
    ("perplexities", "value", "best", "expected"),
    [
        ([40.0], 12.0, 8.0, None),
        ([1.01], 8.0, 8.0, "perplexity 1.01"),
        # One codebook that still says something is enough.
        ([1.2, 1.0], 8.0, 8.0, None),
        ([40.0], 53.0, 8.0, None),
        ([40.0], 55.0, 8.0, "wer_percent 55.0 after 8.0"),
        # Nothing was ever right: there is nothing to lose.
        ([40.0], 120.0, 100.0, None),
        ([40.0], 99.0, None, None),
        ([], 12.0, 8.0, None),
    ],
)
def test_collapse_is_one_code_or_half_of_the_right_answers_lost(
    perplexities, value, best, expected
):
    rows = rows_of(*perplexities)
    assert collapse(rows, "wer_percent", value, best) == expected


def test_metrics_that_are_no_errors_say_nothing_of_a_collapse():
    assert collapse(rows_of(4.0), "clips", 99.0, best=1.0) is None


class SignBrain(EnergyBrain):
    """Its task is the sign of a frame's first number, in percent of errors."""

    def wanted(self, batch):
        signals, _ = batch.to(self.device).sig
        return self.hparams.compute_features(signals)[..., :1] > 0

    def task_loss(self, result, batch):
        return torch.nn.functional.binary_cross_entropy_with_logits(
            result.output, self.wanted(batch).float()
        )

    def reset_metrics(self):
        self.errors = []

    def update_metrics(self, result, batch):
        self.errors.append((result.output > 0) != self.wanted(batch))

    def metric_name(self):
        return "error_percent"

    def metric_value(self):
        return 100.0 * float(torch.cat(self.errors).float().mean())


def sign_brain(folder, weight, epochs, assignment_weight=0.0, **options):
    """A brain that begins with a model that is right, but for its cut."""
    brain = brain_in(
        folder,
        kind=SignBrain,
        quantizer=partial(
            RATED, codebook_dim=None, assignment_weight=assignment_weight
        ),
        outputs=1,
        rate_weight=weight,
        epochs=epochs,
        **options,
    )
    layer, head = brain.split.device_half.layer, brain.split.cloud_half.head
    layer.weight.data.copy_(torch.eye(CHANNELS))
    head.weight.data.copy_(torch.tensor([[3.0, 0.0, 0.0, 0.0]]))
    for part in (layer, head):
        part.bias.data.zero_()
    return brain


def train_signs(brain):
    data = dataset_of(DATA)
    return fit(brain, data, data)


def warnings_of(caplog):
    """Lines that say that a collapse was undone."""
    return [
        record.getMessage()
        for record in caplog.records
        if record.name == collapse_module.__name__
    ]


def collapsing(folder, weight=30.0, epochs=12):
    """A training that starts well and goes on with far too much."""
    train_signs(sign_brain(folder, weight=0.0, epochs=1))
    return train_signs(sign_brain(folder, weight=weight, epochs=epochs))


def test_a_huge_weight_collapses_is_undone_and_leaves_a_working_model(
    tmp_path, caplog
):
    brain = collapsing(tmp_path)
    said = warnings_of(caplog)
    assert said and all("\n" not in line for line in said)
    assert said[0].startswith("the codes collapsed with rate_weight 30 (")
    assert said[0].endswith("going on with 15")
    assert brain.rate_schedule.current == 30.0 / 2 ** len(said)
    logged = brain.hparams.train_logger.epochs
    assert min(float(valid["perplexity"]) for *_, valid in logged) < 1.1
    evaluate_on(brain, dataset_of(DATA))
    # Whoever always says the same is wrong half of the time.
    assert brain.metric_value() < 40.0
    [row] = brain.codebook_use.rows()
    assert row.perplexity > 2.0


def test_a_training_that_does_not_collapse_is_left_alone(tmp_path, caplog):
    train_signs(sign_brain(tmp_path, weight=1e-4, epochs=5))
    assert warnings_of(caplog) == []


def test_what_is_averaged_is_not_of_the_ramp(tmp_path):
    brain = sign_brain(
        tmp_path, weight=1e-4, epochs=3, rate_ramp_epochs=3, avg_checkpoints=3
    )
    train_signs(brain)
    assert len(brain.checkpointer.list_checkpoints()) == 3
    last = {k: v.clone() for k, v in brain.split.state_dict().items()}
    brain.on_evaluate_start(min_key=brain.choice_key())
    for name, value in brain.split.state_dict().items():
        assert torch.equal(value, last[name]), name


def test_the_test_is_of_a_checkpoint_with_all_of_the_weight(tmp_path):
    brain = train_signs(
        sign_brain(tmp_path, weight=1e-4, epochs=4, rate_ramp_epochs=3)
    )
    evaluate_on(brain, dataset_of(DATA))
    assert brain.hparams.epoch_counter.current == 4


def test_time_goes_on_and_weights_go_back(tmp_path):
    brain = train_signs(sign_brain(tmp_path, weight=1e-4, epochs=2))
    good = {k: v.clone() for k, v in brain.split.state_dict().items()}
    reached = brain.checkpointer.find_checkpoint().meta["error_percent"]
    steps = brain.hparams.lr_scheduler.current_step
    for weight in brain.split.parameters():
        weight.data.zero_()
    brain.hparams.lr_scheduler.current_step += 7
    meta = undo_collapse(
        brain.rate_schedule,
        brain.checkpointer,
        rows_of(1.0),
        {"error_percent": 60.0},
    )
    assert meta == {"error_percent": reached}
    for name, value in brain.split.state_dict().items():
        assert torch.equal(value, good[name]), name
    assert brain.hparams.lr_scheduler.current_step == steps + 7
    assert brain.rate_schedule.current == 0.5e-4


def test_the_start_can_be_gone_back_to(tmp_path):
    brain = train_signs(sign_brain(tmp_path, weight=30.0, epochs=0))
    entries = brain.bottleneck.quantizer.codebooks[0].entries
    start = entries.detach().clone()
    entries.data.zero_()
    reached = {"error_percent": 60.0}
    meta = undo_collapse(
        brain.rate_schedule, brain.checkpointer, rows_of(1.0), reached
    )
    assert meta == {}
    assert torch.equal(entries, start)


def test_what_a_collapse_goes_back_to_is_not_chosen_before_its_time(
    tmp_path, monkeypatch
):
    begin = RateSchedule.begin
    # The first two of nine epochs.
    monkeypatch.setattr(
        RateSchedule,
        "begin",
        lambda self, quantizer, batches, _: begin(self, quantizer, batches, 9),
    )
    brain = train_signs(
        sign_brain(tmp_path, weight=1e-4, epochs=2, rate_ramp_epochs=9)
    )
    save_or_undo(
        brain.rate_schedule,
        brain.checkpointer,
        rows_of(1.0),
        {"error_percent": 60.0},
        most=1,
    )
    key = "ramped_error_percent"
    saved = brain.checkpointer.find_checkpoint().meta
    assert saved[key] == saved["error_percent"] + BEHIND


def test_a_resumed_training_knows_what_was_too_much(tmp_path):
    limit = collapsing(tmp_path).rate_schedule.limit
    assert limit < 30.0
    resumed = train_signs(sign_brain(tmp_path, weight=30.0, epochs=13))
    [(meta, _, _)] = resumed.hparams.train_logger.epochs
    assert meta["rate_weight"] == limit


def priced_brain(folder, weight=0.0, **options):
    """A brain that chooses entries by their bits, too."""
    brain = sign_brain(folder, weight, assignment_weight=0.5, **options)
    return brain, brain.bottleneck.quantizer.bit_price


def test_a_price_in_the_search_is_halved_without_a_weight(tmp_path, caplog):
    brain, price = priced_brain(tmp_path, epochs=1)
    train_signs(brain)
    best = brain.checkpointer.find_checkpoint(min_key="error_percent")
    for left in ("0.25", "0.125"):
        # The checkpoint that it goes back to has a share of its own.
        meta = undo_collapse(
            brain.rate_schedule,
            brain.checkpointer,
            rows_of(1.0),
            {"error_percent": 60.0},
        )
        assert meta["error_percent"] == best.meta["error_percent"]
        assert price.reached == float(left)
        said = f"going on with 0 and assignment_weight {left}"
        assert warnings_of(caplog)[-1].endswith(said)


def test_a_price_in_the_search_is_halved_with_the_weight(tmp_path):
    brain, price = priced_brain(tmp_path, weight=30.0, epochs=0)
    train_signs(brain)
    reached = {"error_percent": 60.0}
    undo_collapse(
        brain.rate_schedule, brain.checkpointer, rows_of(1.0), reached
    )
    assert (brain.rate_schedule.last, price.reached) == (15.0, 0.25)


def test_price_is_kept_by_a_resumed_training_and_not_by_a_new_one(tmp_path):
    brain, price = priced_brain(tmp_path / "one", epochs=1)
    train_signs(brain)
    price.halve(1.0)
    brain.checkpointer.save_checkpoint()
    resumed, price = priced_brain(tmp_path / "one", epochs=1)
    train_signs(resumed)
    assert price.reached == 0.25
    new, price = priced_brain(tmp_path / "two", epochs=0)
    new.bottleneck.load_state_dict(resumed.bottleneck.state_dict())
    train_signs(new)
    assert price.reached == 0.5


def test_without_weight_nothing_is_looked_for(tmp_path, caplog):
    brain = train_signs(sign_brain(tmp_path, weight=0.0, epochs=1))
    before = {k: v.clone() for k, v in brain.split.state_dict().items()}
    reached = {"error_percent": 100.0}
    rows = rows_of(1.0)
    assert reached is undo_collapse(
        brain.rate_schedule, brain.checkpointer, rows, reached
    )
    for name, value in brain.split.state_dict().items():
        assert torch.equal(value, before[name])
    assert warnings_of(caplog) == []
