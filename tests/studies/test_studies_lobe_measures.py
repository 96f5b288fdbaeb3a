"""What the study of the quantizers measures itself."""

from dataclasses import replace
from functools import partial

import torch

from speechbrain_acom.bottleneck import Bottleneck
from speechbrain_acom.quantizers import Bypass
from speechbrain_acom.splits import Cnn14Split, SlimCnn14
from speechbrain_acom.studies import lobe_measures
from speechbrain_acom.studies.lobe_measures import (
    TrainedRun,
    nominal_bps,
    step_time_ratio,
)


def split(quantizer, merge=1):
    torch.manual_seed(0)
    return Cnn14Split(
        embedding_model=SlimCnn14(mel_bins=40, emb_dim=8, width=0.0625),
        classifier=torch.nn.Linear(8, 3),
        split_layer=4,
        bottleneck=partial(Bottleneck, quantizer=quantizer, merge=merge),
    )


class SlowBypass(Bypass):
    """Takes five seconds of a clock in which a bypass takes none."""

    clock = 0.0
    steps = 0

    def forward(self, *arguments):
        assert self.training
        type(self).clock += 5.0
        type(self).steps += 1
        return super().forward(*arguments)


def test_step_time_is_that_of_the_whole_split_over_the_continuous_one(
    monkeypatch,
):
    def now(device):
        SlowBypass.clock += 1.0
        return SlowBypass.clock

    monkeypatch.setattr(lobe_measures, "_now", now)
    run = TrainedRun(
        split(SlowBypass), torch.randn(2, 64, 40), torch.ones(2), 1
    )
    # From one look at the clock to the next it is a second later anyhow.
    assert step_time_ratio(run, repetitions=3) == (5.0 + 1.0) / 1.0
    assert SlowBypass.steps == 4


class PricedBypass(Bypass):
    """A bypass with a rate that depends on a weight."""

    def __init__(self, channels):
        super().__init__(channels)
        self.price = torch.nn.Parameter(torch.ones(()))

    def forward(self, *arguments):
        return replace(super().forward(*arguments), rate=2 * self.price)


def test_step_has_the_rate():
    priced = split(PricedBypass)
    features = torch.randn(2, 64, 40)
    step_time_ratio(TrainedRun(priced, features, torch.ones(2), 1), 1)
    assert priced.bottleneck.quantizer.price.grad == 2


def test_nominal_rate_of_a_bypass_counts_its_code_frames():
    features = torch.randn(2, 64, 40)
    for merge, frames in ((1, 4 + 2), (3, 2 + 1)):
        whole = split(Bypass, merge)
        run = TrainedRun(whole, features, torch.tensor([1.0, 0.5]), seconds=2.0)
        bits = 32 * whole.device_half.channels
        assert nominal_bps(run) == frames * bits / 2.0
