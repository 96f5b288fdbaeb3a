"""Runs of like frames: the best of all partitions, and its penalty."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from speechbrain_acom.errors import DataError
from speechbrain_acom.merges import partition as partition_module
from speechbrain_acom.merges.partition import OptimalPartition, run_errors


def partition_of(longest_run, penalty=1.0):
    partition = OptimalPartition(longest_run)
    partition.penalty.fill_(penalty)
    return partition


def noise(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def walk(seed, frames, channels=3):
    """Frames that change a little, and now and then a lot."""
    steps = noise(frames, channels, seed=seed)
    jumps = noise(frames, seed=seed + 1).abs() > 1.5
    return (steps * torch.where(jumps, 3.0, 0.2).unsqueeze(1)).cumsum(0)


def all_partitions(frames, longest_run):
    for cuts in itertools.product([False, True], repeat=max(frames - 1, 0)):
        runs, length = [], 1
        for cut in cuts:
            if cut:
                runs.append(length)
                length = 0
            length += 1
        runs.append(length)
        if max(runs) <= longest_run:
            yield runs


def cost(values, runs, penalty):
    pieces = values.double().split(runs)
    errors = [(piece - piece.mean(0)).square().sum() for piece in pieces]
    return float(sum(errors)) + penalty * len(runs)


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 10_000),
    frames=st.integers(1, 9),
    longest_run=st.integers(2, 6),
    penalty=st.sampled_from([0.01, 0.3, 1.0, 5.0, 1e6]),
)
def test_no_partition_is_cheaper(seed, frames, longest_run, penalty):
    values = walk(seed, frames)
    partition = partition_of(longest_run, penalty)
    [runs] = partition(values[None], torch.tensor([frames])).tolist()
    assert sum(runs) == frames and max(runs) <= longest_run
    best = min(
        cost(values, candidate, penalty)
        for candidate in all_partitions(frames, longest_run)
    )
    assert cost(values, runs, penalty) == pytest.approx(best, rel=1e-6)


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 10_000),
    counts=st.lists(st.integers(0, 20), min_size=1, max_size=4),
    padding=st.integers(0, 5),
)
def test_runs_are_those_of_each_utterance_alone(seed, counts, padding):
    frames = max(counts) + padding
    values = torch.stack(
        [walk(seed + number, frames) for number in range(len(counts))]
    )
    for row, count in zip(values, counts, strict=True):
        row[count:] = torch.nan
    partition = partition_of(4)
    together = partition(values, torch.tensor(counts))
    for row, runs, count in zip(values, together, counts, strict=True):
        alone = partition(row[None, :count], torch.tensor([count]))[0]
        assert torch.equal(runs[runs > 0], alone)
        assert torch.equal(runs[: len(alone)], alone)
        assert alone.sum() == count


def test_error_is_the_squared_distance_to_the_mean():
    values = noise(2, 12, 5)
    errors = run_errors(values, 4)
    for batch, end, length in itertools.product(range(2), range(12), range(4)):
        if length <= end:
            run = values[batch, end - length : end + 1].double()
            expected = (run - run.mean(0)).square().sum()
            assert torch.isclose(errors[batch, end, length], expected)


def test_equal_frames_cost_nothing_however_far_from_zero():
    values = torch.full((1, 9, 4), 1e7) + 0.1
    assert not run_errors(values, 9)[0, 8].any()


@pytest.mark.parametrize(
    ("frames", "runs"), [(4, [4]), (9, [4, 4, 1]), (10, [4, 4, 2])]
)
@pytest.mark.parametrize("penalty", [1e-9, 1.0, 1e9])
def test_of_equal_partitions_long_runs_come_first(frames, runs, penalty):
    partition = partition_of(4, penalty)
    found = partition(torch.ones(1, frames, 2), torch.tensor([frames]))
    assert found.tolist() == [runs]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1e30])
def test_frames_that_cannot_be_compared_stand_alone(bad):
    values = torch.zeros(1, 5, 2)
    values[0, 2] = bad
    found = partition_of(4)(values, torch.tensor([5]))
    assert found.tolist() == [[2, 1, 2]]


def test_no_frame_gives_no_run():
    partition = partition_of(4)
    assert partition(torch.zeros(2, 0, 3), torch.zeros(2).long()).shape == (
        2,
        0,
    )
    assert partition(torch.zeros(2, 3, 3), torch.zeros(2).long()).shape == (
        2,
        0,
    )
    assert partition(torch.zeros(0, 3, 3), torch.zeros(0).long()).shape == (
        0,
        0,
    )


@pytest.mark.parametrize("mean_run", [1.2, 2, 5, 8])
@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_calibration_gives_the_mean_run(mean_run, scale):
    batches = [
        (scale * torch.stack([walk(seed, 300), walk(seed + 50, 300)]), counts)
        for seed, counts in enumerate(torch.tensor([[300, 150], [200, 300]]))
    ]
    partition = OptimalPartition(16)
    partition.calibrate(batches, mean_run)
    runs = [partition(values, counts) for values, counts in batches]
    number = sum(int((found > 0).sum()) for found in runs)
    assert 950 / number == pytest.approx(mean_run, rel=0.02)


def test_padding_takes_no_part_in_the_calibration():
    values = torch.stack([walk(1, 60), walk(2, 60)])
    counts, penalties = torch.tensor([60, 30]), []
    for padding in (0.0, 1e9, torch.nan):
        values[1, 30:] = padding
        partition = OptimalPartition(8)
        partition.calibrate([(values, counts)], 3)
        penalties.append(float(partition.penalty))
    assert penalties[0] == penalties[1] == penalties[2] != 1.0


def test_calibration_takes_no_more_batches_than_needed(monkeypatch):
    monkeypatch.setattr(partition_module, "CALIBRATION_FRAMES", 25)
    taken = []

    def batches():
        for seed in range(9):
            taken.append(seed)
            yield walk(seed, 10)[None], torch.tensor([10])

    OptimalPartition(4).calibrate(batches(), 2)
    assert taken == [0, 1, 2]


def test_calibration_on_what_has_no_such_runs():
    partition = OptimalPartition(8)
    silence = torch.zeros(1, 40, 2)
    partition.calibrate([(silence, torch.tensor([40]))], 2)
    assert partition(silence, torch.tensor([40])).tolist() == [[8] * 5]
    # Utterances shorter than the mean run become one run each.
    short = noise(6, 3, 2), torch.full((6,), 3)
    partition.calibrate([short], 5)
    assert partition(*short).tolist() == [[3]] * 6


def test_calibration_without_frames_is_an_error():
    for batches in ([], [(torch.zeros(1, 4, 2), torch.tensor([0]))]):
        with pytest.raises(DataError, match="found 0") as caught:
            OptimalPartition(4).calibrate(batches, 2)
        assert "\n" not in str(caught.value)
