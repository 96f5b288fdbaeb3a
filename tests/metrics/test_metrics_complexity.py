"""Counted multiply-adds against counts made by hand."""

from functools import partial

import pytest
import torch
from speechbrain.lobes.models.transformer.TransformerASR import TransformerASR

from speechbrain_acom.bottleneck import Bottleneck
from speechbrain_acom.metrics.complexity import Complexity, complexity
from speechbrain_acom.quantizers import Bypass, ResidualVectorQuantizer
from speechbrain_acom.splits import ConformerSplit, CutFrames
from speechbrain_acom.splits.contract import CloudHalf, DeviceHalf, Split

FRAME_RATE = 100
SAMPLE_RATE = 1000


class Device(DeviceHalf):
    """One module on (batch, time, channel)."""

    def __init__(self, module, channels):
        super().__init__()
        self.module = module
        self.channels = channels

    def forward(self, features, lengths):
        return CutFrames(self.module(features), lengths)


class Cloud(CloudHalf):
    """One module on (batch, time, channel)."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, values, lengths):
        return self.module(values)


class ChannelFirst(torch.nn.Module):
    """A convolution on (batch, time, channel)."""

    def __init__(self, **options):
        super().__init__()
        self.convolution = torch.nn.Conv1d(**options)

    def forward(self, values):
        return self.convolution(values.transpose(1, 2)).transpose(1, 2)


def frames_of_audio(audio: torch.Tensor) -> torch.Tensor:
    """Ten samples a frame, ten channels; takes no multiply-adds."""
    return audio.unflatten(1, (-1, SAMPLE_RATE // FRAME_RATE))


def count(device, channels, cloud, bottleneck=None, **options) -> Complexity:
    bypass = partial(Bottleneck, quantizer=Bypass)
    split = Split(Device(device, channels), Cloud(cloud), bottleneck or bypass)
    return complexity(split, frames_of_audio, SAMPLE_RATE, **options)


@pytest.mark.parametrize("seconds", [1.0, 2.5])
def test_linear_layers_on_either_side(seconds):
    cost = count(
        torch.nn.Linear(10, 20), 20, torch.nn.Linear(20, 3), seconds=seconds
    )
    assert cost.device_gmac_per_s == pytest.approx(FRAME_RATE * 200 / 1e9)
    assert cost.cloud_gmac_per_s == pytest.approx(FRAME_RATE * 60 / 1e9)
    assert cost.total_gmac_per_s == pytest.approx(FRAME_RATE * 260 / 1e9)
    assert cost.quantizer_gmac_per_s == 0.0
    assert cost.device_parameters == 220
    assert cost.cloud_parameters == 63


@pytest.mark.parametrize(("groups", "per_output"), [(1, 10), (2, 5), (10, 1)])
def test_grouped_convolution_counts_what_it_reads(groups, per_output):
    convolution = ChannelFirst(
        in_channels=10,
        out_channels=10,
        kernel_size=3,
        padding=1,
        groups=groups,
    )
    cost = count(convolution, 10, torch.nn.Identity())
    expected = FRAME_RATE * 10 * 3 * per_output / 1e9
    assert cost.device_gmac_per_s == pytest.approx(expected)


def test_the_matrix_of_the_features_belongs_to_the_device():
    linear = torch.nn.Linear(10, 10)
    split = Split(
        Device(torch.nn.Identity(), 10),
        Cloud(linear),
        partial(Bottleneck, quantizer=Bypass),
    )

    def compute_features(audio):
        return frames_of_audio(audio) @ torch.ones(10, 10)

    cost = complexity(split, compute_features, SAMPLE_RATE)
    assert cost.device_gmac_per_s == pytest.approx(FRAME_RATE * 100 / 1e9)


def test_search_of_the_quantizer_is_part_of_the_device():
    quantizer = partial(
        ResidualVectorQuantizer,
        num_codebooks=2,
        codebook_size=64,
        codebook_dim=8,
    )
    bottleneck = partial(
        Bottleneck, quantizer=quantizer, merge=4, merge_mode="projection"
    )
    cost = count(
        torch.nn.Linear(10, 20), 20, torch.nn.Linear(20, 3), bottleneck
    )
    code_rate = FRAME_RATE // 4
    layers = FRAME_RATE * 10 * 20
    merge = code_rate * 80 * 20
    search = code_rate * (20 * 8 + 2 * 64 * 8)
    decoder = code_rate * (8 * 20 + 20 * 80)
    head = FRAME_RATE * 20 * 3
    assert cost.quantizer_gmac_per_s == pytest.approx(search / 1e9)
    assert cost.device_gmac_per_s == pytest.approx(
        (layers + merge + search) / 1e9
    )
    assert cost.cloud_gmac_per_s == pytest.approx((decoder + head) / 1e9)


def test_comparison_of_frames_is_part_of_the_device():
    costs = [
        count(
            torch.nn.Linear(10, 20),
            20,
            torch.nn.Linear(20, 3),
            partial(Bottleneck, quantizer=Bypass, merge=2, merge_mode=mode),
        )
        for mode in ("average", "similar")
    ]
    equal, alike = (cost.device_gmac_per_s for cost in costs)
    comparisons = FRAME_RATE * (4 * 2 - 1) * 20
    assert alike - equal == pytest.approx(comparisons / 1e9)


def conformer_cost(split_layer: int, seconds: float, attention: str):
    transformer = TransformerASR(
        tgt_vocab=2,
        input_size=40,
        d_model=512,
        nhead=8,
        num_encoder_layers=1,
        num_decoder_layers=0,
        d_ffn=2048,
        kernel_size=31,
        encoder_module="conformer",
        attention_type=attention,
        normalize_before=True,
        causal=False,
    )
    split = ConformerSplit(
        torch.nn.Identity(),
        transformer,
        torch.nn.Linear(512, 2),
        split_layer,
        partial(Bottleneck, quantizer=Bypass),
    )
    # 25 frames a second, as after the front end of conformer_large.
    return complexity(
        split, lambda audio: audio.unflatten(1, (-1, 40)), 1000, seconds
    )


def test_a_layer_of_conformer_large():
    """The known 177 million multiply-adds a second, at 10 s clips."""
    before = conformer_cost(0, 10.0, "RelPosMHAXL")
    after = conformer_cost(1, 10.0, "RelPosMHAXL")
    layer = after.device_gmac_per_s - before.device_gmac_per_s
    assert layer == pytest.approx(0.177, rel=0.02)
    assert after.total_gmac_per_s == pytest.approx(before.total_gmac_per_s)


@pytest.mark.parametrize("attention", ["RelPosMHAXL", "regularMHA", "RoPEMHA"])
def test_attention_grows_with_the_clip(attention):
    """Every further frame that is attended to costs two products of 512."""
    short = conformer_cost(1, 2.0, attention).device_gmac_per_s
    long = conformer_cost(1, 4.0, attention).device_gmac_per_s
    assert long - short >= 25 * 50 * 2 * 512 / 1e9 * 0.999


def test_counting_leaves_the_model_as_it_was():
    split = Split(
        Device(torch.nn.Sequential(torch.nn.BatchNorm1d(100)), 10),
        Cloud(torch.nn.Linear(10, 2)),
        partial(Bottleneck, quantizer=Bypass),
    )
    complexity(split, frames_of_audio, SAMPLE_RATE, seconds=1.0)
    assert split.training
    assert split.device_half.module[0].num_batches_tracked == 0
