"""Only what is to be tuned changes, whatever else a step would move."""

import pytest
import torch
from training_helpers import CHANNELS, FramewiseCloud, brain_in, dataset_of, fit

from speechbrain_acom.errors import ConfigurationError
from speechbrain_acom.quantizers import Bypass

PARTS = {"device_half", "bottleneck", "cloud_half"}


class NormedCloud(FramewiseCloud):
    """Has running statistics and dropout, which training mode would use."""

    def __init__(self, outputs):
        super().__init__(outputs)
        self.norm = torch.nn.BatchNorm1d(CHANNELS)
        self.dropout = torch.nn.Dropout(0.5)

    def forward(self, values, lengths):
        normed = self.norm(values.transpose(1, 2)).transpose(1, 2)
        return self.head(self.dropout(normed))


def changed(folder, tuned):
    """Parts of which a training changed a weight or a statistic."""
    brain = brain_in(folder, cloud=NormedCloud, tuned=tuned)
    halves = ("device_half", "cloud_half")
    before = {
        name: value.clone() for name, value in brain.split.state_dict().items()
    }
    modes = []
    step = brain.on_fit_batch_end
    brain.on_fit_batch_end = lambda *given: (
        modes.append([getattr(brain.split, half).training for half in halves]),
        step(*given),
    )
    fit(brain, dataset_of([5] * 6))
    kept = dict(zip(halves, modes[-1], strict=True))
    after = brain.split.state_dict()
    # Quantizers start from data before the first step, whatever is tuned.
    moved = {
        name.split(".")[0]
        for name, value in after.items()
        if not torch.equal(value, before[name])
    }
    return moved, kept


@pytest.mark.parametrize(
    ("tuned", "frozen"),
    [
        ("all", set()),
        ("lobe_and_cloud", {"device_half"}),
        ("lobe", {"device_half", "cloud_half"}),
    ],
)
def test_what_is_frozen_stays_as_it_is(tmp_path, tuned, frozen):
    moved, training = changed(tmp_path, tuned)
    assert moved == PARTS - frozen
    assert {half for half, mode in training.items() if not mode} == frozen


def test_unknown_part_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match="tuned: found 'cloud'"):
        brain_in(tmp_path, tuned="cloud")


def test_nothing_to_train_is_said_before_the_training(tmp_path):
    with pytest.raises(ConfigurationError, match="nothing in the cut"):
        brain_in(tmp_path, tuned="lobe", quantizer=Bypass)
