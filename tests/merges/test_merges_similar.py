"""Like frames merged, their number coded, and expanded again."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from speechbrain_acom.errors import AcomError
from speechbrain_acom.lengths import frame_mask, relative_lengths
from speechbrain_acom.merges import SimilarMerge, frame_merge


def noise(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def expanded(merge, merged, num_frames):
    return merge.expand(merged.values, merged.codes, num_frames)


@settings(deadline=None, max_examples=50)
@given(
    runs=st.lists(st.integers(1, 8), min_size=1, max_size=12),
    seed=st.integers(0, 2**32 - 1),
    penalty=st.sampled_from([1e-6, 1e-2]),
)
def test_steps_come_back_exactly(runs, seed, penalty):
    merge = SimilarMerge(3, factor=2)
    merge.partition.penalty.fill_(penalty)
    # Apart by far more than the penalty, with a mean that needs rounding.
    steps = 10 * noise(len(runs), 3, seed=seed) + 0.1
    steps += torch.arange(len(runs)).unsqueeze(1)
    values = steps.repeat_interleave(torch.tensor(runs), 0)[None]
    merged = merge.merge(values)
    assert torch.equal(expanded(merge, merged, sum(runs)), values)
    assert merged.values.dtype == torch.float32
    assert (merged.codes + 1).sum() == sum(runs)
    assert merged.codes.shape == (1, len(runs), 1)


@pytest.fixture
def batch():
    """Three utterances of 5, 17 and 11 frames, padded with nonsense."""
    values = noise(3, 17, 4).cumsum(1)
    lengths = relative_lengths(torch.tensor([5, 17, 11]), 17)
    values[~frame_mask(lengths, values)] = torch.nan
    return values, lengths


def merge_of(batch, factor=2, **options):
    merge = SimilarMerge(4, factor, **options)
    merge.calibrate([batch])
    return merge


def test_runs_cover_the_frames_of_every_utterance(batch):
    merge = merge_of(batch)
    merged = merge.merge(*batch)
    assert merge.cardinalities == (8,)
    assert merged.codes.min() >= 0 and merged.codes.max() < 8
    real = frame_mask(merged.lengths, merged.values)
    runs = (merged.codes[..., 0] + 1) * real
    assert runs.sum(1).tolist() == [5, 17, 11]
    assert not merged.codes[~real].any()
    assert not merged.values[~real].any()
    assert merged.statistics["mean_run"] == pytest.approx(33 / int(real.sum()))
    assert merged.statistics["mean_run"] == pytest.approx(2, abs=0.3)


def test_an_utterance_merges_alone_as_in_a_batch(batch):
    merge = merge_of(batch)
    together = merge.merge(*batch)
    back = expanded(merge, together, 17)
    for number, count in enumerate((5, 17, 11)):
        alone = merge.merge(batch[0][number : number + 1, :count])
        frames = alone.values.shape[1]
        for name in ("values", "codes"):
            part = getattr(together, name)[number : number + 1, :frames]
            assert torch.equal(part, getattr(alone, name))
        assert torch.equal(
            expanded(merge, alone, count), back[number : number + 1, :count]
        )


def test_merged_frames_are_means_of_their_runs(batch):
    values, _ = batch
    merged = merge_of(batch).merge(values[1:2])
    runs = (merged.codes[0, :, 0] + 1).tolist()
    means = [part.double().mean(0) for part in values[1].split(runs)]
    assert torch.allclose(merged.values[0], torch.stack(means).float())


def test_gradient_goes_through_the_means(batch):
    merge = merge_of(batch)
    values = batch[0].nan_to_num().requires_grad_()
    merged = merge.merge(values, batch[1])
    expanded(merge, merged, 17).square().sum().backward()
    real = frame_mask(batch[1], values)
    assert torch.isfinite(values.grad).all()
    assert (values.grad[real].abs().sum(1) > 0).all()
    assert not values.grad[~real].any()
    # Every frame of a run weighs the same.
    runs = (merged.codes[1, :, 0] + 1).tolist()
    for part in values.grad[1].split(runs):
        assert torch.allclose(part, part[:1].expand_as(part))


@pytest.mark.parametrize("frames", [0, 1])
def test_no_frame_and_one_frame(frames):
    merge = SimilarMerge(3, 4)
    merged = merge.merge(torch.ones(2, frames, 3))
    assert merged.values.shape == (2, frames, 3)
    assert merged.codes.shape == (2, frames, 1)
    assert merged.lengths.tolist() == [float(frames)] * 2
    assert expanded(merge, merged, frames).shape == (2, frames, 3)
    assert torch.isfinite(merged.statistics["mean_run"])


def test_no_codes_for_some_frames_are_an_error():
    with pytest.raises(AcomError, match="found 0, expected 1 to 7"):
        SimilarMerge(3, 4).expand(
            torch.zeros(1, 0, 3), torch.zeros(1, 0, 1).long(), 7
        )


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float64])
def test_other_precisions_are_merged_too(kind):
    merge = SimilarMerge(3, 4)
    merged = merge.merge(noise(2, 9, 3).to(kind))
    assert merged.values.dtype == torch.float32
    assert expanded(merge, merged, 9).shape == (2, 9, 3)


def test_penalty_is_saved_and_only_the_device_has_it(batch):
    trained, loaded = merge_of(batch), frame_merge(4, 2, "similar")
    state = trained.state_dict()
    assert list(state) == ["partition.penalty"]
    loaded.load_state_dict(state)
    assert loaded.partition.penalty == trained.partition.penalty != 1.0
    assert loaded.device_only == ("partition",)
    merged = trained.merge(*batch)
    loaded.partition = None
    assert torch.equal(
        expanded(loaded, merged, 17), expanded(trained, merged, 17)
    )


def test_silence_takes_fewer_codes_than_transients():
    quiet, loud = 0.01 * noise(1, 200, 4), noise(1, 200, 4, seed=1)
    values = torch.cat([quiet, loud], 1)
    merge = SimilarMerge(4, 4)
    merge.calibrate([(values, None)])
    runs = merge.merge(values).codes[0, :, 0] + 1
    in_silence = int((runs.cumsum(0) <= 200).sum())
    assert in_silence == 200 // 16 + 1 or in_silence == 200 // 16
    assert len(runs) <= 400 // 4


def test_longest_run_can_be_chosen():
    merge = frame_merge(4, 2, "similar", longest_run=3)
    assert merge.cardinalities == (3,)
    codes = merge.merge(torch.zeros(1, 10, 4)).codes
    assert codes.flatten().tolist() == [2, 2, 2, 0]


def test_comparisons_are_counted():
    assert SimilarMerge(channels=5, factor=2).multiply_adds(100) == 100 * 7 * 5
    assert frame_merge(5, 2).multiply_adds(100) == 0
