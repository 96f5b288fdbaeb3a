"""Running moments of features."""

import torch

from speechbrain_acom.quantizers.moments import RunningMoments


def test_spread_is_the_variance_of_what_it_started_from():
    torch.manual_seed(0)
    frames = 3.0 + torch.randn(5000, 4)
    moments = RunningMoments(4)
    moments.start(frames)
    expected = frames.double().var(0, correction=0).sum()
    torch.testing.assert_close(moments.spread, expected, rtol=1e-5, atol=0.0)


def test_it_follows_other_frames():
    torch.manual_seed(0)
    moments = RunningMoments(4, decay=0.5)
    frames = 5.0 - 2.0 * torch.randn(100, 4)
    for _ in range(40):
        moments.follow(frames)
    expected = frames.double().var(0, correction=0).sum()
    torch.testing.assert_close(moments.spread, expected, rtol=1e-4, atol=0.0)


def test_a_batch_without_frames_changes_nothing():
    moments = RunningMoments(2)
    moments.start(torch.tensor([[1.0, 0.0], [3.0, 0.0]]))
    moments.follow(torch.zeros(0, 2))
    assert moments.spread == 1.0
    assert moments.mean.tolist() == [2.0, 0.0]


def test_frames_that_are_all_the_same_have_a_spread_above_zero():
    moments = RunningMoments(2)
    moments.start(torch.full((5, 2), 1e4))
    assert moments.spread > 0
