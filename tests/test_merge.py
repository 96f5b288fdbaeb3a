"""Frames merged and expanded again."""

import pytest
import torch

from speechbrain_acom.errors import AcomError, ConfigurationError
from speechbrain_acom.lengths import relative_lengths
from speechbrain_acom.merge import FrameMerge

MODES = ["average", "projection"]


@pytest.fixture
def values():
    return torch.randn(2, 7, 3, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("mode", MODES)
def test_factor_one_changes_nothing_and_holds_nothing(values, mode):
    merge = FrameMerge(3, 1, mode)
    merged, lengths = merge.merge(values, torch.tensor([3 / 7, 1.0]))
    assert merged is values
    assert torch.allclose(lengths, torch.tensor([3 / 7, 1.0]))
    assert merge.expand(merged, 7) is values
    assert not merge.state_dict()


def test_average_takes_only_the_real_frames_of_a_group(values):
    lengths = relative_lengths(torch.tensor([3, 7]), 7)
    merged, _ = FrameMerge(3, 2).merge(values, lengths)
    expected = torch.stack(
        [values[0, :2].mean(0), values[0, 2], *torch.zeros(2, 3)]
    )
    assert torch.allclose(merged[0], expected, atol=1e-7)
    assert torch.allclose(merged[1, 3], values[1, 6], atol=1e-7)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("factor", [2, 3, 4, 10])
def test_lengths_are_rounded_up_like_the_frames(values, mode, factor):
    counts = torch.tensor([5, 7])
    merged, lengths = FrameMerge(3, factor, mode).merge(
        values, relative_lengths(counts, 7)
    )
    assert merged.shape == (2, -(-7 // factor), 3)
    assert (lengths * merged.shape[1]).round().tolist() == [
        -(-5 // factor),
        -(-7 // factor),
    ]


def test_average_expands_by_repetition(values):
    merge = FrameMerge(3, 4)
    merged, _ = merge.merge(values)
    expanded = merge.expand(merged, 7)
    assert torch.equal(expanded[:, 3], merged[:, 0])
    assert torch.equal(expanded[:, 4], merged[:, 1])


def test_projection_starts_as_averaging_and_repetition(values):
    average, projection = FrameMerge(3, 7), FrameMerge(3, 7, "projection")
    averaged, _ = average.merge(values)
    projected, _ = projection.merge(values)
    assert torch.allclose(averaged, projected, atol=1e-6)
    assert torch.allclose(
        average.expand(averaged, 7),
        projection.expand(averaged, 7),
        atol=1e-6,
    )


def test_projection_reads_zeros_for_missing_frames(values):
    merge = FrameMerge(3, 4, "projection")
    merged, _ = merge.merge(values)
    assert torch.allclose(merged[:, 1], values[:, 4:].sum(1) / 4, atol=1e-6)


def test_both_projections_learn(values):
    merge = FrameMerge(3, 2, "projection")
    merged, _ = merge.merge(values)
    merge.expand(merged, 7).square().sum().backward()
    for weights in merge.parameters():
        assert weights.grad.abs().sum() > 0


@pytest.mark.parametrize("mode", MODES)
def test_padding_has_no_influence(values, mode):
    merge = FrameMerge(3, 4, mode)
    if mode == "projection":
        torch.nn.init.normal_(merge.projection.bias)
    lengths = relative_lengths(torch.tensor([3, 6]), 7)
    dirty = values.clone()
    dirty[0, 3:], dirty[1, 6:] = float("nan"), 1e9
    clean, _ = merge.merge(values, lengths)
    assert torch.equal(clean, merge.merge(dirty, lengths)[0])
    assert not clean[0, 1].any()


@pytest.mark.parametrize("mode", MODES)
def test_an_utterance_merges_alone_as_in_a_batch(values, mode):
    merge = FrameMerge(3, 2, mode)
    lengths = relative_lengths(torch.tensor([5, 7]), 7)
    together, _ = merge.merge(values, lengths)
    alone, _ = merge.merge(values[:1, :5])
    assert torch.equal(together[:1, :3], alone)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("frames", [0, 1])
def test_no_frame_and_one_frame(mode, frames):
    merge = FrameMerge(3, 4, mode)
    merged, lengths = merge.merge(torch.ones(2, frames, 3))
    assert merged.shape == (2, frames, 3)
    assert lengths.tolist() == [float(frames)] * 2
    assert merge.expand(merged, frames).shape == (2, frames, 3)


def test_expanding_to_a_wrong_number_of_frames_is_an_error():
    with pytest.raises(AcomError, match="found 3, expected 2 for 7 frames"):
        FrameMerge(3, 4).expand(torch.zeros(1, 3, 3), 7)


@pytest.mark.parametrize(
    ("factor", "mode", "key"),
    [(0, "average", "merge"), (2, "maximum", "merge_mode")],
)
def test_wrong_settings_name_the_key(factor, mode, key):
    with pytest.raises(ConfigurationError, match=f"^{key}: found"):
        FrameMerge(3, factor, mode)
