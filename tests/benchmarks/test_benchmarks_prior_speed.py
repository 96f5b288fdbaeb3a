"""Speed of priors on made codes."""

import numpy as np
import prior_speed
import pytest


def test_made_codes_are_the_same_every_time_and_some_likelier():
    first, again = (prior_speed.made_codes((8, 4), seed=1) for _ in range(2))
    for one, other in zip(first.utterances, again.utterances, strict=True):
        assert np.array_equal(one, other)
    codes = np.concatenate(first.utterances)
    assert codes.max(axis=0).tolist() == [7, 3]
    assert (codes[:, 0] < 2).sum() > 3 * (codes[:, 0] > 5).sum()
    assert first.seconds.sum() == pytest.approx(len(codes) / 25)


def test_every_size_and_prior_has_a_row(monkeypatch):
    monkeypatch.setattr(prior_speed, "SIZES", ((8,),))
    monkeypatch.setattr(prior_speed, "UTTERANCES", 4)
    found = prior_speed.rows(seconds=0.1)
    assert [row["coder"] for row in found] == ["static", "neural"]
    for row in found:
        assert row["decode_times_real_time"] > 0
        assert row["speed_target"].endswith("million symbols per second")
