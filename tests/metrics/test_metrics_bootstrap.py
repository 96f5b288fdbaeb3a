"""The paired bootstrap."""

import numpy as np
import pytest

from speechbrain_acom.errors import DataError
from speechbrain_acom.metrics.bootstrap import ratio_interval


def test_equal_ratios_have_no_spread_whatever_the_lengths():
    interval = ratio_interval([1.0, 10.0, 100.0], [2.0, 20.0, 200.0])
    assert interval.value == interval.low == interval.high == 0.5


def test_the_interval_is_that_of_the_mean():
    generator = np.random.default_rng(0)
    values = generator.normal(10.0, 2.0, 400)
    interval = ratio_interval(values, np.ones(400))
    half = 1.96 * values.std() / 20
    assert interval.value == pytest.approx(values.mean())
    assert interval.low == pytest.approx(values.mean() - half, abs=0.05)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.05)


def test_copies_of_a_recording_are_no_more_evidence():
    generator = np.random.default_rng(0)
    values = generator.normal(10.0, 2.0, 50)
    copied, names = np.repeat(values, 8), np.repeat(np.arange(50), 8)
    ones = np.ones(400)
    grouped = ratio_interval(copied, ones, [str(name) for name in names])
    alone = ratio_interval(values, np.ones(50))
    apart = ratio_interval(copied, ones)
    width = grouped.high - grouped.low
    assert width == pytest.approx(alone.high - alone.low, rel=0.1)
    assert width > 2 * (apart.high - apart.low)


def test_the_same_seed_gives_the_same_interval():
    values, ones = np.arange(1.0, 30.0), np.ones(29)
    assert ratio_interval(values, ones) == ratio_interval(values, ones)
    assert ratio_interval(values, ones) != ratio_interval(values, ones, seed=1)


@pytest.mark.parametrize(
    "numerators, denominators, groups",
    [
        ([], [], None),
        ([1.0], [0.0], None),
        ([1.0, 2.0], [1.0], None),
        ([1.0, 2.0], [1.0, 1.0], ["a"]),
    ],
)
def test_what_has_no_ratio_is_refused(numerators, denominators, groups):
    with pytest.raises(DataError, match="bootstrap: found"):
        ratio_interval(numerators, denominators, groups)
