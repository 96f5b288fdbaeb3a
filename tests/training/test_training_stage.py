import torch

from speechbrain_acom.training.stage import RunningMeans


def test_mean_is_over_the_values_that_came_and_order_is_kept():
    means = RunningMeans()
    for value in (1.0, 2.0, 6.0):
        means.update("loss", torch.tensor(value))
    means.update("distortion", torch.tensor(0.5))
    assert means.values() == {"loss": 3.0, "distortion": 0.5}
    assert list(means.values()) == ["loss", "distortion"]


def test_nothing_counted_gives_nothing():
    assert RunningMeans().values() == {}


def test_values_are_detached():
    weight = torch.ones((), requires_grad=True)
    means = RunningMeans()
    means.update("loss", weight * 2)
    assert means.values() == {"loss": 2.0}
    assert weight.grad is None
