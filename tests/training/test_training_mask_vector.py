"""One vector is learned for lost frames, and nothing else changes."""

from functools import partial

import pytest
import torch
from training_helpers import CHANNELS, FramewiseCloud, TinyDevice

from speechbrain_acom.bottleneck import Bottleneck
from speechbrain_acom.errors import ConfigurationError, DataError
from speechbrain_acom.inference.concealment import mean_vector
from speechbrain_acom.quantizers import ResidualVectorQuantizer
from speechbrain_acom.splits import Split
from speechbrain_acom.training.mask_vector import (
    CodedExample,
    draw_loss,
    learn_mask_vector,
)

RVQ = partial(ResidualVectorQuantizer, codebook_size=8, codebook_dim=None)


class NormalizedCloud(FramewiseCloud):
    """Has what a training mode would change."""

    def __init__(self, outputs):
        super().__init__(outputs)
        self.norm = torch.nn.BatchNorm1d(outputs)
        self.dropout = torch.nn.Dropout(0.5)

    def forward(self, values, lengths):
        scores = self.norm(super().forward(values, lengths).mean(1))
        return self.dropout(scores).unsqueeze(1)


def split_with(cloud, outputs=CHANNELS, **cut):
    torch.manual_seed(0)
    bottleneck = partial(Bottleneck, quantizer=RVQ, **cut)
    split = Split(TinyDevice(), cloud(outputs), bottleneck)
    split.keep_half("cloud")
    return split


def examples(count, seed=0, merge=1, target=1):
    generator = torch.Generator().manual_seed(seed)
    made = []
    for number in range(count):
        length = 20 + number % 7
        codes = torch.randint(0, 8, (length, 1), generator=generator)
        frames = merge * length - (merge - 1)
        made.append(CodedExample(codes, frames, torch.tensor([target])))
    return made


def mean_of(split, data):
    pairs = [(each.codes, each.num_frames) for each in data]
    return mean_vector(split.bottleneck, pairs)


def distance_to(wanted):
    """Mean squared distance of the output, padding included."""

    def loss(output, lengths, targets, target_lengths):
        return (output - wanted).square().mean()

    return loss


@pytest.mark.parametrize("merge", [1, 3])
def test_the_vector_whose_output_is_right_is_found(merge):
    split = split_with(FramewiseCloud, merge=merge)
    right = torch.tensor([0.5, -1.0, 2.0, 0.0])
    data = examples(40, merge=merge)
    start = mean_of(split, data)
    with torch.no_grad():
        wanted = split.cloud_half.head(right)
    learned = learn_mask_vector(
        split, data, examples(20, 1, merge), distance_to(wanted), start
    )
    assert torch.allclose(learned.vector, right, atol=0.1)
    assert not torch.allclose(start, right, atol=0.4)
    assert learned.valid_loss < learned.start_valid_loss
    assert learned.vector.dtype == torch.float32
    assert not learned.vector.requires_grad


def test_nothing_of_the_model_changes():
    split = split_with(NormalizedCloud).train()
    # Some of it was frozen by whoever trained it.
    split.cloud_half.norm.eval()
    before = {name: value.clone() for name, value in split.state_dict().items()}
    modes = [module.training for module in split.modules()]
    chance = torch.get_rng_state()
    data = examples(10)
    learned = learn_mask_vector(
        split, data, data, distance_to(1.0), mean_of(split, data), steps=5
    )
    assert learned.steps > 0
    assert [module.training for module in split.modules()] == modes
    for name, value in split.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert all(weight.grad is None for weight in split.parameters())
    assert all(weight.requires_grad for weight in split.parameters())
    assert torch.equal(torch.get_rng_state(), chance)


def test_a_seed_decides_everything():
    split = split_with(NormalizedCloud)
    data = examples(20)
    first, again, other = (
        learn_mask_vector(
            split,
            data,
            data,
            distance_to(1.0),
            mean_of(split, data),
            steps=10,
            batch_size=4,
            seed=seed,
        )
        for seed in (3, 3, 4)
    )
    assert torch.equal(first.vector, again.vector)
    assert first.valid_loss == again.valid_loss
    assert not torch.equal(first.vector, other.vector)


def test_the_validation_says_when_to_stop():
    split = split_with(FramewiseCloud)

    def opposed(output, lengths, targets, target_lengths):
        """What is right in training is wrong in the validation."""
        return (output - targets.float().mean()).square().mean()

    train, valid = examples(20, target=5), examples(20, target=-5)
    start = mean_of(split, train)
    learned = learn_mask_vector(split, train, valid, opposed, start, steps=30)
    assert learned.steps == 0
    assert learned.valid_loss == learned.start_valid_loss
    assert torch.equal(learned.vector, start)
    trained = learn_mask_vector(split, train, train, opposed, start, steps=30)
    assert trained.steps == 30


def test_a_task_loss_gets_padded_targets_and_relative_lengths():
    split = split_with(FramewiseCloud)
    codes = torch.zeros(10, 1, dtype=torch.int64)
    data = [
        CodedExample(codes, 10, torch.tensor([1, 2, 3, 4])),
        CodedExample(codes[:5], 5, torch.tensor([5])),
    ]

    def checked(output, lengths, targets, target_lengths):
        assert output.shape == (2, 10, CHANNELS)
        columns = (lengths, targets, target_lengths)
        rows = zip(*(column.tolist() for column in columns), strict=True)
        assert sorted(rows) == [
            (0.5, [5, 0, 0, 0], 0.25),
            (1.0, [1, 2, 3, 4], 1.0),
        ]
        return output.square().mean()

    start = torch.ones(CHANNELS)
    learned = learn_mask_vector(split, data, data, checked, start, steps=3)
    assert learned.valid_loss <= learned.start_valid_loss


def test_frozen_weights_and_steps_without_a_loss_are_no_trouble():
    split = split_with(FramewiseCloud).requires_grad_(False)
    # Single frames: most of the steps lose none of them.
    one = CodedExample(
        torch.zeros(1, 1, dtype=torch.int64), 1, torch.tensor([0])
    )
    data, start = [one], torch.ones(CHANNELS)
    learned = learn_mask_vector(
        split, data, [one] * 30, distance_to(0.0), start, steps=40
    )
    assert learned.valid_loss < learned.start_valid_loss


def test_losses_are_packets_of_up_to_ten_frames():
    generator = torch.Generator().manual_seed(0)
    masks = [draw_loss(60, generator) for _ in range(3000)]
    assert all(mask.shape == (60,) for mask in masks)
    assert all(mask.dtype == torch.bool for mask in masks)
    lost = torch.cat(masks).float().mean()
    assert lost == pytest.approx(0.1, abs=0.01)
    # A packet that was lost alone shows its size.
    alone = [int(mask.sum()) for mask in masks if _runs(mask) == 1]
    assert set(range(1, 11)) <= set(alone)


def _runs(mask):
    return int((mask[1:] & ~mask[:-1]).sum()) + int(mask[0])


def test_examples_are_needed():
    split, start = split_with(FramewiseCloud), torch.zeros(CHANNELS)
    for train, valid in (([], examples(1)), (examples(1), [])):
        with pytest.raises(DataError, match="mask vector: found"):
            learn_mask_vector(split, train, valid, distance_to(0.0), start)


def test_run_lengths_are_refused():
    split = split_with(FramewiseCloud, merge=2, merge_mode="similar")
    codes = torch.ones(5, 2, dtype=torch.int64)
    data = [CodedExample(codes, 10, torch.tensor([0]))]
    with pytest.raises(ConfigurationError, match="merge_mode"):
        learn_mask_vector(
            split, data, data, distance_to(0.0), torch.zeros(CHANNELS)
        )
