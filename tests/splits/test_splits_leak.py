"""Sound splits pass the leak test; every kind of leak fails it."""

from dataclasses import replace

import pytest
import torch

from speechbrain_acom.bottleneck import Bottleneck
from speechbrain_acom.quantizers import Bypass
from speechbrain_acom.splits import (
    ClassifierSplit,
    CutFrames,
    EcapaSplit,
    LeakError,
    SplitResult,
    check_no_leak,
    code_leak,
    gradient_leak,
)
from speechbrain_acom.splits.contract import CloudHalf, DeviceHalf

LENGTHS = torch.tensor([1.0, 0.6])


class LastBlockDevice(DeviceHalf):
    """Blocks 1..3 of an ECAPA; only the last one goes into the quantizer."""

    def __init__(self, model):
        super().__init__()
        self.blocks = torch.nn.ModuleList(model.blocks[:3])
        self.channels = model.channels[2]

    def forward(self, features, lengths):
        first = self.blocks[0](features.transpose(1, 2))
        second = self.blocks[1](first, lengths=lengths)
        third = self.blocks[2](second, lengths=lengths)
        self.uncoded = second
        return CutFrames(third.transpose(1, 2), lengths)


class AggregatingCloud(CloudHalf):
    """The rest of the ECAPA; the aggregation reads an uncoded block."""

    def __init__(self, model, classifier, device_half, detached):
        super().__init__()
        self.model = model
        self.classifier = classifier
        self.look = lambda: device_half.uncoded
        self.detached = detached

    def forward(self, values, lengths):
        second, third = self.look(), values.transpose(1, 2)
        if self.detached:
            second = second.detach()
        fourth = self.model.blocks[3](third, lengths=lengths)
        mixed = self.model.mfa(torch.cat([second, third, fourth], dim=1))
        pooled = self.model.asp_bn(self.model.asp(mixed, lengths=lengths))
        return self.classifier(self.model.fc(pooled).transpose(1, 2))


def leaking_split(family, bottleneck, detached=False):
    model, classifier = family.parts
    device = LastBlockDevice(model)
    cloud = AggregatingCloud(model, classifier, device, detached)
    names = ("features", "block 1", "block 2", "block 3")
    return ClassifierSplit(device, cloud, bottleneck, 3, names).eval()


class SoftmaxSplit(EcapaSplit):
    """Probabilities of the features themselves: they sum to one."""

    def forward(self, features, lengths):
        result = super().forward(features, lengths)
        return replace(result, output=features.softmax(-1))


class UnusedBottleneckSplit(EcapaSplit):
    """Goes straight from one half to the other."""

    def forward(self, features, lengths):
        cut = self.device(features, lengths)
        output = self.cloud(cut.values, cut.lengths)
        return SplitResult(output, cut.lengths, None)


class LeakyQuantizer(Bypass):
    """Gives features that its codes do not say."""

    def encode(self, features, lengths=None):
        return super().encode(features.round(), lengths)


@pytest.mark.parametrize("quantizer", ["bypass", "coded"])
def test_sound_splits_do_not_leak(
    build, features, cut_point, quantizer, request
):
    name, split_layer = cut_point
    bottleneck = request.getfixturevalue(f"{quantizer}_bottleneck")
    split = build(name).cut(split_layer, bottleneck)
    check_no_leak(split, features, LENGTHS)
    assert gradient_leak(split, features, LENGTHS) == 0.0


def test_sound_split_with_merging_does_not_leak(
    build, features, coded_bottleneck
):
    def merging(channels: int) -> Bottleneck:
        return coded_bottleneck(channels=channels, merge=4)

    check_no_leak(build("ecapa").cut(3, merging), features, LENGTHS)


def test_aggregation_of_uncoded_blocks_leaks(build, features, coded_bottleneck):
    split = leaking_split(build("ecapa"), coded_bottleneck)
    assert gradient_leak(split, features, LENGTHS) > 0.0
    assert code_leak(split, features, features.flip(1), LENGTHS) > 1e-3
    with pytest.raises(LeakError, match="gradient round the bottleneck") as got:
        check_no_leak(split, features, LENGTHS)
    assert "\n" not in str(got.value)


def test_a_detached_leak_is_found_by_its_codes(
    build, features, coded_bottleneck
):
    split = leaking_split(build("ecapa"), coded_bottleneck, detached=True)
    assert gradient_leak(split, features, LENGTHS) == 0.0
    with pytest.raises(LeakError, match="outputs of equal codes"):
        check_no_leak(split, features, LENGTHS)


def test_a_leak_whose_outputs_sum_to_a_constant_is_found(
    build, features, coded_bottleneck
):
    split = SoftmaxSplit(*build("ecapa").parts, 3, coded_bottleneck)
    assert gradient_leak(split, features, LENGTHS) > 1e-4


def test_a_quantizer_that_leaks_is_found(build, features):
    def leaky(channels: int) -> Bottleneck:
        return Bottleneck(channels, LeakyQuantizer)

    split = build("ecapa").cut(3, leaky)
    with pytest.raises(LeakError, match="outputs of equal codes"):
        check_no_leak(split, features, LENGTHS)


def test_an_output_that_is_no_number_is_an_error(
    build, features, coded_bottleneck
):
    split = build("ecapa").cut(3, coded_bottleneck)
    torch.nn.init.constant_(split.cloud_half.classifier.weight, float("nan"))
    with pytest.raises(LeakError):
        check_no_leak(split, features, LENGTHS)


def test_a_bottleneck_that_is_not_called_is_an_error(
    build, features, coded_bottleneck
):
    split = UnusedBottleneckSplit(*build("ecapa").parts, 3, coded_bottleneck)
    with pytest.raises(LeakError, match="found no call of its bottleneck"):
        gradient_leak(split, features, LENGTHS)


def test_the_leak_test_leaves_no_trace(build, features, coded_bottleneck):
    split = build("cnn14").cut(3, coded_bottleneck).train()
    split.cloud_half.eval()
    before = {name: value.clone() for name, value in split.state_dict().items()}
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    check_no_leak(split, features, LENGTHS)
    assert torch.equal(torch.rand(1), expected)
    assert split.training and not split.cloud_half.training
    assert all(parameter.grad is None for parameter in split.parameters())
    assert not features.requires_grad
    assert not split.bottleneck._forward_hooks
    for name, value in split.state_dict().items():
        assert torch.equal(value, before[name]), name
