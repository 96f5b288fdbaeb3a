"""The four rates, pooled over utterances."""

import numpy as np
import pytest

from speechbrain_acom.entropy.bitstream import read_message, write_message
from speechbrain_acom.entropy.priors import (
    AdaptivePrior,
    ContextPrior,
    StaticPrior,
)
from speechbrain_acom.errors import (
    BitstreamError,
    ConfigurationError,
    DataError,
)
from speechbrain_acom.metrics.rate import Rate, RateMeter


def uniform_prior(*cardinalities) -> StaticPrior:
    return StaticPrior([np.full(v, 65536 // v) for v in cardinalities])


def test_four_rates_of_one_utterance():
    prior = StaticPrior([np.array([49152, 16384]), np.full(256, 256)])
    meter = RateMeter(prior)
    codes = np.array([[1, 5], [1, 255]])
    meter.add(codes, payload_bytes=3, message_bytes=8, seconds=0.5)
    assert meter.rate() == Rate(
        nominal_bps=2 * (1 + 8) / 0.5,
        cross_entropy_bps=2 * (2 + 8) / 0.5,
        payload_bps=3 * 8 / 0.5,
        message_bps=8 * 8 / 0.5,
    )


def test_rates_pool_bits_and_seconds_and_are_no_mean_of_rates():
    meter = RateMeter(uniform_prior(16))
    meter.add(np.zeros((10, 1), int), 5, 10, seconds=1.0)
    meter.add(np.zeros((30, 1), int), 15, 20, seconds=9.0)
    rate = meter.rate()
    assert rate.nominal_bps == pytest.approx(40 * 4 / 10)
    assert rate.cross_entropy_bps == pytest.approx(40 * 4 / 10)
    assert rate.payload_bps == pytest.approx(20 * 8 / 10)
    assert rate.message_bps == pytest.approx(30 * 8 / 10)


def test_codes_of_one_short_utterance_are_not_their_own_prior():
    # All codes differ: their own histogram would say log2 8 = 3 bits a code.
    meter = RateMeter(uniform_prior(1024))
    meter.add(np.arange(8)[:, None], 10, 15, seconds=1.0)
    assert meter.rate().cross_entropy_bps == pytest.approx(80)


def test_codebook_size_that_is_no_power_of_two():
    prior = StaticPrior([np.array([21845, 21845, 21846])])
    meter = RateMeter(prior)
    meter.add(np.zeros((25, 1), int), 5, 10, seconds=1.0)
    assert meter.rate().nominal_bps == pytest.approx(25 * np.log2(3))


def test_rates_of_real_messages_are_in_order():
    random = np.random.default_rng(0)
    train = random.geometric(0.05, (4000, 2)).clip(max=64) - 1
    prior = StaticPrior.fit([train], (64, 64))
    meter = RateMeter(prior)
    for _ in range(20):
        codes = random.geometric(0.05, (100, 2)).clip(max=64) - 1
        message = write_message(codes, 100, prior, b"ab")
        decoded = read_message(message, prior, b"ab")
        meter.add(decoded.codes, decoded.payload_bytes, len(message), 4.0)
    rate = meter.rate()
    assert rate.cross_entropy_bps < rate.payload_bps < rate.nominal_bps
    assert rate.payload_bps < rate.cross_entropy_bps + 8 / 4.0
    assert rate.message_bps == pytest.approx(rate.payload_bps + 5 * 8 / 4.0)


@pytest.mark.parametrize("fit", [ContextPrior.fit, AdaptivePrior.fit])
def test_context_counts_and_ends_with_the_utterance(fit):
    # Every utterance goes up one by one and starts where the last one ended.
    utterances = [
        np.arange(20 * n, 20 * n + 20)[:, None] % 16 for n in range(9)
    ]
    prior = fit(utterances, (16,))
    meter = RateMeter(prior)
    for codes in utterances:
        meter.add(codes, 5, 10, seconds=1.0)
    expected = sum(prior.bits(codes) for codes in utterances) / 9
    assert meter.rate().cross_entropy_bps == pytest.approx(expected)
    assert expected < 0.5 * meter.rate().nominal_bps
    assert prior.bits(np.concatenate(utterances)) != pytest.approx(9 * expected)


def test_no_audio_has_no_rate():
    meter = RateMeter(uniform_prior(4))
    with pytest.raises(DataError, match="0 seconds of audio"):
        meter.rate()
    meter.add(np.zeros((0, 1), int), 0, 5, seconds=0.0)
    with pytest.raises(DataError, match="0 seconds of audio"):
        meter.rate()


@pytest.mark.parametrize("seconds", [-1.0, float("nan"), float("inf")])
def test_impossible_durations_are_refused_and_not_counted(seconds):
    meter = RateMeter(uniform_prior(4))
    meter.add(np.zeros((2, 1), int), 1, 6, seconds=1.0)
    before = meter.rate()
    with pytest.raises(DataError, match="seconds"):
        meter.add(np.zeros((2, 1), int), 1, 6, seconds=seconds)
    assert meter.rate() == before


def test_bad_codes_are_refused_and_not_counted():
    meter = RateMeter(uniform_prior(4))
    meter.add(np.zeros((2, 1), int), 1, 6, seconds=1.0)
    before = meter.rate()
    with pytest.raises(BitstreamError, match="found 4"):
        meter.add(np.array([[4]]), 1, 6, seconds=1.0)
    with pytest.raises(ConfigurationError, match="num_codebooks"):
        meter.add(np.zeros((2, 3), int), 1, 6, seconds=1.0)
    assert meter.rate() == before
