"""A quantizer that learns from the continuous model."""

from functools import partial

import pytest
import torch
from training_helpers import (
    CHANNELS,
    FramewiseCloud,
    batch_of,
    brain_in,
    dataset_of,
    evaluate_on,
    fit,
)

from speechbrain_acom.errors import ConfigurationError
from speechbrain_acom.quantizers import TaughtResidualVectorQuantizer
from speechbrain_acom.splits import CutFrames
from speechbrain_acom.training import teacher as teacher_module
from speechbrain_acom.training.teacher import Teacher

TAUGHT = partial(TaughtResidualVectorQuantizer, codebook_size=8, codebook_dim=2)


class HiddenCloud(FramewiseCloud):
    """A layer before the head, with dropout, at half the frames."""

    hidden_channels = 5

    def __init__(self, outputs):
        super().__init__(outputs)
        self.layer = torch.nn.Linear(CHANNELS, self.hidden_channels)
        self.dropout = torch.nn.Dropout(0.5)

    def hidden(self, values, lengths):
        return CutFrames(self.dropout(self.layer(values[:, ::2])), lengths)


def taught_brain(folder, **options):
    defaults = {
        "quantizer": TAUGHT,
        "cloud": HiddenCloud,
        "pretrained_path": "export",
    }
    return brain_in(folder, **{**defaults, **options})


def weights(module):
    return {name: t.clone() for name, t in module.state_dict().items()}


def same(first, second):
    return all(
        torch.equal(value, second[name]) for name, value in first.items()
    )


def start_weights(folder):
    """Weights of the halves before training: every brain starts from them."""
    split = taught_brain(folder).split
    return weights(torch.nn.ModuleList([split.device_half, split.cloud_half]))


def test_teacher_stays_as_the_model_was(tmp_path):
    brain = fit(taught_brain(tmp_path), dataset_of([5] * 6))
    start = start_weights(tmp_path / "other")
    halves = brain.teacher.halves
    assert same(start, weights(halves))
    assert not any(part.training for part in halves.modules())
    assert not any(weight.requires_grad for weight in halves.parameters())
    tuned = weights(brain.split.device_half)
    assert not torch.equal(tuned["layer.weight"], start["0.layer.weight"])


def test_teacher_of_a_resumed_training_is_the_pretrained_model(tmp_path):
    data = dataset_of([5] * 6)
    fit(taught_brain(tmp_path), data)
    start = start_weights(tmp_path / "other")
    resumed = taught_brain(tmp_path, epochs=2)
    seen = []
    teach = Teacher.__call__

    def noting(teacher, features, lengths):
        device = resumed.split.device_half.layer.weight
        seen.append(not torch.equal(device, start["0.layer.weight"]))
        return teach(teacher, features, lengths)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Teacher, "__call__", noting)
        fit(resumed, data)
    # The checkpoint's weights are in the split, and not in the teacher.
    assert seen and all(seen)
    assert same(start, weights(resumed.teacher.halves))


def test_nothing_holds_the_teacher(tmp_path):
    brain = fit(taught_brain(tmp_path), dataset_of([5] * 6))
    taught = {id(weight) for weight in brain.teacher.halves.parameters()}
    [group] = brain.optimizer.param_groups
    assert not taught & {id(weight) for weight in group["params"]}
    assert not taught & {id(weight) for weight in brain.modules.parameters()}
    [checkpoint] = brain.checkpointer.find_checkpoints()
    names = {path.name for path in checkpoint.path.iterdir()}
    assert names == {
        *("CKPT.yaml", "brain.ckpt", "counter.ckpt", "normalize.ckpt"),
        *("optimizer.ckpt", "scheduler.ckpt", "split.ckpt"),
        *("rate_schedule.ckpt", "training_state.ckpt"),
    } | {name for name in names if name.startswith("dataloader")}
    saved = torch.load(checkpoint.paramfiles["split"])
    assert saved.keys() == brain.split.state_dict().keys()


def test_halves_hold_nothing_that_only_training_needs(tmp_path):
    split = fit(taught_brain(tmp_path), dataset_of([5] * 6)).split
    whole = set(split.state_dict())
    held = set(split.half_state_dict("device"))
    held |= set(split.half_state_dict("cloud"))
    left = {
        "semantic_head.weight",
        "semantic_head.bias",
        "target_statistics.frames",
        "target_statistics.sums",
        "target_statistics.squares",
    }
    assert whole - held == {f"bottleneck.quantizer.{name}" for name in left}
    for half in ("device", "cloud"):
        kept = taught_brain(tmp_path / half).split
        kept.keep_half(half)
        kept.load_half_state_dict(half, split.half_state_dict(half))
        assert kept.bottleneck.quantizer.semantic_head is None
        assert set(kept.state_dict()) == set(split.half_state_dict(half))


def test_semantic_loss_is_logged_and_not_in_the_test(tmp_path):
    brain = fit(taught_brain(tmp_path), dataset_of([5] * 6))
    [(_, trained, validated)] = brain.hparams.train_logger.epochs
    assert trained["semantic"] > 0 and validated["semantic"] > 0
    evaluate_on(brain, dataset_of([5, 3]))
    [tested] = brain.hparams.train_logger.tests
    assert "semantic" not in tested and "codebook" in tested


def test_semantic_loss_trains_the_device(tmp_path):
    brain = taught_brain(tmp_path)
    brain.teacher = Teacher(brain.split)
    batch = batch_of(dataset_of([5, 3]))
    features, lengths = brain.features(batch, epoch=None)
    target = brain.teacher(features, lengths).hidden
    result = brain.split(features, lengths, target)
    result.bottleneck.losses["semantic"].backward()
    assert brain.split.device_half.layer.weight.grad.abs().sum() > 0
    assert brain.split.cloud_half.head.weight.grad is None


def test_resumed_statistics_go_on(tmp_path):
    data = dataset_of([5] * 6)
    frames = []
    for epochs in (1, 2):
        brain = fit(taught_brain(tmp_path, epochs=epochs), data)
        quantizer = brain.bottleneck.quantizer
        frames.append(int(quantizer.target_statistics.frames))
    assert frames == [30, 60]


def test_other_quantizers_have_no_teacher(tmp_path):
    brain = fit(brain_in(tmp_path), dataset_of([5] * 6))
    assert brain.teacher is None


@pytest.mark.parametrize("path", ["", "export"])
def test_untrained_teacher_is_warned_of(tmp_path, path, monkeypatch):
    said = []
    monkeypatch.setattr(teacher_module.logger, "warning", said.append)
    brain = taught_brain(tmp_path, pretrained_path=path)
    fit(brain, dataset_of([5] * 6))
    assert [line.startswith("pretrained_path: empty") for line in said] == (
        [] if path else [True]
    )


def test_model_without_hidden_features_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match="^quantizer: found 'Taught"):
        brain_in(tmp_path, quantizer=TAUGHT)
