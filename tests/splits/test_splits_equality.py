"""A split model with the bypass quantizer is the unsplit model."""

import io

import pytest
import torch

from speechbrain_acom.bottleneck import Bottleneck
from speechbrain_acom.errors import ConfigurationError

CLOSE = {"atol": 1e-5, "rtol": 0}


def lengths_for(family: str) -> torch.Tensor:
    # SpeechBrain's CNN14 knows no lengths: it can be compared without padding.
    return torch.tensor([1.0, 1.0 if family == "cnn14" else 0.6])


def test_equals_unsplit_in_evaluation(
    build, bypass_bottleneck, features, cut_point
):
    name, split_layer = cut_point
    family = build(name)
    split = family.cut(split_layer, bypass_bottleneck).eval()
    lengths = lengths_for(name)
    result = split(features, lengths)
    expected = family.unsplit(features, lengths)
    torch.testing.assert_close(result.output, expected, **CLOSE)


def test_equals_unsplit_in_training(
    build, bypass_bottleneck, features, cut_point
):
    name, split_layer = cut_point
    family = build(name)
    split = family.cut(split_layer, bypass_bottleneck).train()
    family.parts.train()
    lengths = lengths_for(name)
    # CNN14's dropout is fixed at 0.2: the same numbers must be drawn.
    torch.manual_seed(3)
    result = split(features, lengths)
    torch.manual_seed(3)
    expected = family.unsplit(features, lengths)
    torch.testing.assert_close(result.output, expected, **CLOSE)


def test_halves_in_sequence_are_the_whole(
    build, bypass_bottleneck, features, cut_point
):
    name, split_layer = cut_point
    split = build(name).cut(split_layer, bypass_bottleneck).eval()
    lengths = lengths_for(name)
    cut = split.device(features, lengths)
    output = split.cloud(cut.values, cut.lengths)
    torch.testing.assert_close(
        output, split(features, lengths).output, rtol=0, atol=0
    )


def test_channels_are_those_at_the_cut(
    build, bypass_bottleneck, features, cut_point
):
    name, split_layer = cut_point
    split = build(name).cut(split_layer, bypass_bottleneck)
    cut = split.device(features, lengths_for(name))
    assert cut.values.shape[2] == split.device_half.channels
    assert cut.lengths.shape == (2,)


def test_layer_names_are_one_more_than_layers(
    build, bypass_bottleneck, cut_point
):
    name, split_layer = cut_point
    split = build(name).cut(split_layer, bypass_bottleneck)
    with pytest.raises(ConfigurationError):
        build(name).cut(split.num_layers + 1, bypass_bottleneck)
    assert split.split_layer == split_layer
    assert len(set(split.layer_names)) == split.num_layers + 1


def test_unsplit_checkpoint_loads_by_name(
    build, bypass_bottleneck, features, cut_point
):
    name, split_layer = cut_point
    trained, fresh = build(name), build(name)
    lengths = lengths_for(name)
    expected = trained.unsplit(features, lengths)
    before = fresh.cut(split_layer, bypass_bottleneck).eval()
    assert not torch.allclose(before(features, lengths).output, expected)

    file = io.BytesIO()
    torch.save(trained.parts.state_dict(), file)
    file.seek(0)
    fresh.parts.load_state_dict(torch.load(file))
    split = fresh.cut(split_layer, bypass_bottleneck).eval()
    for output in (
        before(features, lengths).output,
        split(features, lengths).output,
    ):
        torch.testing.assert_close(output, expected, **CLOSE)


def test_training_a_split_trains_the_parts(
    build, bypass_bottleneck, features, cut_point
):
    name, split_layer = cut_point
    family = build(name)
    split = family.cut(split_layer, bypass_bottleneck)
    in_parts = {id(parameter) for parameter in family.parts.parameters()}
    in_split = {id(parameter) for parameter in split.parameters()}
    assert in_split == in_parts


@pytest.mark.parametrize("name", ["conformer", "ecapa", "cnn14"])
@pytest.mark.parametrize("split_layer", [-1, 99, 1.0, "2", None, True])
def test_split_layer_out_of_range(build, bypass_bottleneck, name, split_layer):
    with pytest.raises(ConfigurationError, match="an integer from 0 to") as got:
        build(name).cut(split_layer, bypass_bottleneck)
    assert got.value.key == "split_layer"
    assert "\n" not in str(got.value)


@pytest.mark.parametrize("name", ["conformer", "ecapa", "cnn14"])
def test_merging_keeps_the_shape_of_the_output(
    build, coded_bottleneck, features, name
):
    family = build(name)

    def merging(channels: int) -> Bottleneck:
        return coded_bottleneck(channels=channels, merge=4)

    split = family.cut(2, merging).eval()
    lengths = lengths_for(name)
    result = split(features, lengths)
    assert result.output.shape == family.unsplit(features, lengths).shape
    assert result.output.isfinite().all()
