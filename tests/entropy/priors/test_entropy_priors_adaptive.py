"""Adaptive priors: cheap on short messages, learning on long ones."""

from pathlib import Path

import every_prior
import numpy as np
import pytest
from every_prior import CARDINALITIES, chained_codes
from hyperpyyaml import load_hyperpyyaml
from hypothesis import given, settings
from hypothesis import strategies as st

from speechbrain_acom.entropy.priors import (
    TOTAL_FREQUENCY,
    AdaptivePrior,
    ContextPrior,
    StaticPrior,
    learned,
)
from speechbrain_acom.errors import ConfigurationError

HPARAMS = Path(__file__).parents[3] / "hparams" / "priors"


def uniform(size: int, columns: int = 1) -> StaticPrior:
    codes = np.repeat(np.arange(size)[:, None], columns, axis=1)
    return StaticPrior.fit([codes], (size,) * columns)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 1000), frames=st.integers(1, 120))
def test_teaching_nothing_costs_next_to_nothing(seed, frames):
    codes = np.random.default_rng(seed).integers(0, 16, (frames, 1))
    base = uniform(16)
    loss = AdaptivePrior(base, strength=1).bits(codes) - base.bits(codes)
    # The first share is a tenth, and what leaks back to it 1/512 a code.
    assert loss <= -np.log2(0.9) - frames * np.log2(1 - 1 / 512)


def test_short_messages_cost_what_they_cost_with_the_base():
    train = [chained_codes(seed, 60) for seed in range(12)]
    base = ContextPrior.fit(train, CARDINALITIES)
    adaptive = AdaptivePrior(base, strength=32)
    messages = [chained_codes(seed, 50) for seed in range(100, 120)]
    ours, theirs = (
        sum(prior.bits(codes) for codes in messages)
        for prior in (adaptive, base)
    )
    assert ours < 1.002 * theirs


def test_first_code_is_the_base_s():
    base = every_prior.fitted("context")
    predictor = AdaptivePrior(base, strength=1).predictor()
    difference = predictor.frequencies(0) - base.predictor().frequencies(0)
    assert np.abs(difference).max() <= len(difference)


def test_what_a_stream_uses_is_learned():
    codes = np.random.default_rng(0).integers(0, 4, (2000, 1))
    bits = AdaptivePrior(uniform(256), strength=32).bits(codes)
    # 2 bits a code, if it had been known; 8 under the base.
    assert 2 * 2000 < bits < 2.4 * 2000


def test_what_follows_in_a_stream_is_learned():
    codes = (np.arange(3000) ** 2 % 31)[:, None]
    bits = AdaptivePrior(uniform(31), strength=32).bits(codes)
    assert bits < 0.5 * uniform(31).bits(codes)


def test_codebooks_learn_apart():
    random = np.random.default_rng(3)
    codes = np.stack([random.integers(0, 64, 800), np.zeros(800, int)], axis=1)
    prior = AdaptivePrior(uniform(64, columns=2), strength=16)
    assert prior.bits(codes) == pytest.approx(
        sum(
            AdaptivePrior(uniform(64), strength=16).bits(codes[:, [column]])
            for column in (0, 1)
        )
    )


def test_larger_rate_learns_sooner():
    codes = np.random.default_rng(4).integers(0, 3, (300, 1))
    slow, fast = (
        AdaptivePrior.fit(
            [np.arange(100)[:, None]], (100,), StaticPrior.fit, rate
        ).bits(codes)
        for rate in (1 / 64, 1 / 2)
    )
    assert fast < 0.7 * slow


def test_long_streams_are_forgotten_in_bounded_memory(monkeypatch):
    monkeypatch.setattr(learned, "WINDOW", 64)
    table = learned.LearnedTable(1000, strength=4)
    base = np.full(1000, TOTAL_FREQUENCY // 1000)
    base[0] += TOTAL_FREQUENCY - base.sum()
    random = np.random.default_rng(5)
    for code in random.integers(0, 1000, 1000).tolist():
        table.learn(base, table.corrected(base), code)
    remembered = sum(map(len, table._after.values()))
    # Each code counts two at first, and one after the window: then nothing.
    assert 0 < remembered <= 2 * 64
    assert table._came.sum() <= 2 * 64
    assert table._expected.sum() <= 64 * TOTAL_FREQUENCY


def test_stream_that_changes_is_learned_again(monkeypatch):
    monkeypatch.setattr(learned, "WINDOW", 256)
    prior = AdaptivePrior(uniform(64), strength=8)
    random = np.random.default_rng(6)
    old = random.integers(0, 2, (3000, 1))
    new = random.integers(40, 42, (3000, 1))
    together = prior.bits(np.concatenate([old, new]))
    assert together - prior.bits(old) < 1.3 * prior.bits(new)


@pytest.mark.parametrize("strength", [1, 1 << 16])
def test_extreme_tables_stay_tables(monkeypatch, strength):
    monkeypatch.setattr(learned, "WINDOW", 600)
    # As far from what the base expects as can be: 24 bits a code.
    base = np.ones(65536, dtype=np.int64)
    base[0] += TOTAL_FREQUENCY - 65536
    table = learned.LearnedTable(65536, strength)
    for code in [65535] * 500 + [0] * 300:
        corrected = table.corrected(base)
        mixed = table.mixed(base, corrected)
        for one in (corrected, mixed):
            assert one.min() >= 1
            assert one.sum() == TOTAL_FREQUENCY
        table.learn(base, corrected, code)


def test_no_sum_overflows_at_the_end_of_a_window():
    table = learned.LearnedTable(2, strength=1)
    base = np.array([1, TOTAL_FREQUENCY - 1])
    for _ in range(learned.WINDOW - 1):
        table.learn(base, base, 0)
    corrected = table.corrected(base)
    assert corrected[0] > 0.99 * TOTAL_FREQUENCY
    assert corrected.min() >= 1
    assert corrected.sum() == TOTAL_FREQUENCY


def test_adaptive_base_is_refused():
    once = AdaptivePrior(uniform(4), strength=32)
    with pytest.raises(ConfigurationError, match="base: found 'AdaptivePrior'"):
        AdaptivePrior(once, strength=32)
    nested = bytes([0, 0, 0, 32, AdaptivePrior.KIND]) + once.content()
    with pytest.raises(ValueError, match="base is of kind 3"):
        AdaptivePrior.from_content(nested)
    with pytest.raises(ValueError, match="no base"):
        AdaptivePrior.from_content(bytes(4))


@pytest.mark.parametrize("rate", [0, -1, 1.1, float("nan"), 1e-6])
def test_rate_out_of_range_is_refused(rate):
    with pytest.raises(ConfigurationError, match="rate"):
        AdaptivePrior.fit([np.zeros((1, 1), int)], (2,), StaticPrior.fit, rate)


@pytest.mark.parametrize("strength", [0, 65537])
def test_strength_out_of_range_is_refused(strength):
    with pytest.raises(ConfigurationError, match="strength"):
        AdaptivePrior(uniform(4), strength)


def test_fragment_fits():
    prior = load_hyperpyyaml(
        f"prior: !include:{HPARAMS / 'adaptive.yaml'}\n    rate: 0.125\n"
    )["prior"]
    fitted = prior([chained_codes(0, 100)], CARDINALITIES)
    assert isinstance(fitted, AdaptivePrior)
    assert fitted.content()[:5] == bytes([0, 0, 0, 8, ContextPrior.KIND])
