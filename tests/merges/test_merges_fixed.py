"""Groups of equally many frames merged and expanded again."""

import pytest
import torch

from speechbrain_acom.errors import AcomError, ConfigurationError
from speechbrain_acom.lengths import relative_lengths
from speechbrain_acom.merges import frame_merge

MODES = ["average", "projection", "causal"]


@pytest.fixture
def values():
    return torch.randn(2, 7, 3, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("mode", MODES)
def test_nothing_is_coded_but_the_values(values, mode):
    merge = frame_merge(3, 2, mode)
    assert merge.merge(values).codes.shape == (2, 4, 0)
    assert merge.cardinalities == ()
    assert merge.framing.run_columns == 0
    assert merge.framing.covered([9]) == 2


@pytest.mark.parametrize("mode", [*MODES, "similar"])
def test_factor_one_changes_nothing_and_holds_nothing(values, mode):
    merge = frame_merge(3, 1, mode)
    merged = merge.merge(values, torch.tensor([3 / 7, 1.0]))
    assert merged.values is values
    assert torch.allclose(merged.lengths, torch.tensor([3 / 7, 1.0]))
    assert merge.expand(values, merged.codes, 7) is values
    assert merge.framing.covered([9]) == 1
    assert not merge.state_dict()


def test_average_takes_only_the_real_frames_of_a_group(values):
    lengths = relative_lengths(torch.tensor([3, 7]), 7)
    merged = frame_merge(3, 2).merge(values, lengths).values
    expected = torch.stack(
        [values[0, :2].mean(0), values[0, 2], *torch.zeros(2, 3)]
    )
    assert torch.allclose(merged[0], expected, atol=1e-7)
    assert torch.allclose(merged[1, 3], values[1, 6], atol=1e-7)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("factor", [2, 3, 4, 10])
def test_lengths_are_rounded_up_like_the_frames(values, mode, factor):
    counts = torch.tensor([5, 7])
    merged = frame_merge(3, factor, mode).merge(
        values, relative_lengths(counts, 7)
    )
    frames = -(-7 // factor)
    assert merged.values.shape == (2, frames, 3)
    assert (merged.lengths * frames).round().tolist() == [
        -(-5 // factor),
        -(-7 // factor),
    ]


def test_average_expands_by_repetition(values):
    merge = frame_merge(3, 4)
    merged = merge.merge(values)
    expanded = merge.expand(merged.values, merged.codes, 7)
    assert torch.equal(expanded[:, 3], merged.values[:, 0])
    assert torch.equal(expanded[:, 4], merged.values[:, 1])


def test_projection_starts_as_averaging_and_repetition(values):
    average, projection = frame_merge(3, 7), frame_merge(3, 7, "projection")
    averaged, projected = average.merge(values), projection.merge(values)
    assert torch.allclose(averaged.values, projected.values, atol=1e-6)
    assert torch.allclose(
        average.expand(averaged.values, averaged.codes, 7),
        projection.expand(averaged.values, averaged.codes, 7),
        atol=1e-6,
    )


def test_projection_reads_zeros_for_missing_frames(values):
    merge = frame_merge(3, 4, "projection")
    merged = merge.merge(values).values
    assert torch.allclose(merged[:, 1], values[:, 4:].sum(1) / 4, atol=1e-6)


def test_both_projections_learn(values):
    merge = frame_merge(3, 2, "projection")
    merged = merge.merge(values)
    merge.expand(merged.values, merged.codes, 7).square().sum().backward()
    for weights in merge.parameters():
        assert weights.grad.abs().sum() > 0


@pytest.mark.parametrize("mode", MODES)
def test_padding_has_no_influence(values, mode):
    merge = frame_merge(3, 4, mode)
    if mode == "projection":
        torch.nn.init.normal_(merge.projection.bias)
    lengths = relative_lengths(torch.tensor([3, 6]), 7)
    dirty = values.clone()
    dirty[0, 3:], dirty[1, 6:] = float("nan"), 1e9
    clean = merge.merge(values, lengths).values
    assert torch.equal(clean, merge.merge(dirty, lengths).values)
    assert not clean[0, 1].any()


@pytest.mark.parametrize("mode", MODES)
def test_an_utterance_merges_alone_as_in_a_batch(values, mode):
    merge = frame_merge(3, 2, mode)
    lengths = relative_lengths(torch.tensor([5, 7]), 7)
    together = merge.merge(values, lengths).values
    alone = merge.merge(values[:1, :5]).values
    assert torch.equal(together[:1, :3], alone)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("frames", [0, 1])
def test_no_frame_and_one_frame(mode, frames):
    merge = frame_merge(3, 4, mode)
    merged = merge.merge(torch.ones(2, frames, 3))
    assert merged.values.shape == (2, frames, 3)
    assert merged.lengths.tolist() == [float(frames)] * 2
    expanded = merge.expand(merged.values, merged.codes, frames)
    assert expanded.shape == (2, frames, 3)


def test_expanding_to_a_wrong_number_of_frames_is_an_error():
    with pytest.raises(AcomError, match="found 3, expected 2 for 7 frames"):
        frame_merge(3, 4).expand(torch.zeros(1, 3, 3), torch.zeros(1, 3, 0), 7)


@pytest.mark.parametrize(
    ("factor", "mode", "longest_run", "key"),
    [
        (0, "average", None, "merge"),
        (1.5, "similar", None, "merge"),
        (2, "maximum", None, "merge_mode"),
        (2, "average", 8, "longest_run"),
        (4, "similar", 3, "longest_run"),
        (4, "similar", 65537, "longest_run"),
    ],
)
def test_wrong_settings_name_the_key(factor, mode, longest_run, key):
    with pytest.raises(ConfigurationError, match=f"^{key}: found"):
        frame_merge(3, factor, mode, longest_run)
