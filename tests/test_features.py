"""Filter banks with the features of a frozen encoder beside them."""

import pytest
import torch
from second_encoders import (
    MEL_BINS,
    SECOND,
    CentredEncoder,
    WaveformEncoder,
    waveform_features,
)
from speechbrain.lobes.features import Fbank
from speechbrain.processing.features import InputNormalization

from speechbrain_acom.errors import AudioError, ConfigurationError
from speechbrain_acom.features import (
    FirstChannelsNormalization,
    FrozenEncoder,
    features_of,
)

SAMPLES = (16000, 9777)
LENGTHS = torch.tensor(SAMPLES) / SAMPLES[0]


def padded_batch(value=0.0):
    """Two signals, alone and in a batch padded with a value."""
    torch.manual_seed(1)
    signals = [torch.randn(1, count) for count in SAMPLES]
    batch = torch.full((2, SAMPLES[0]), value)
    for row, signal in zip(batch, signals, strict=True):
        row[: signal.shape[1]] = signal
    return signals, batch


# Beside the filter banks ---------------------------------------------------


def test_waveform_encoder_beside_the_filter_banks():
    compute_features = waveform_features().train()
    signals = torch.randn(2, 16000)
    features = compute_features(signals)
    encoded = compute_features.encoder(signals)
    assert features.shape == (2, 101, MEL_BINS + SECOND)
    banks = Fbank(n_mels=MEL_BINS)(signals)
    assert torch.equal(features[..., :MEL_BINS], banks)
    assert encoded.shape == (2, 49, SECOND)
    for frame, step in ((0, 0), (1, 0), (2, 1), (97, 48), (100, 48)):
        beside = features[:, frame, MEL_BINS:]
        assert torch.allclose(beside, encoded[:, step], atol=1e-6)


def test_wrong_frame_rate_is_named():
    compute_features = waveform_features(frames_per_step=1)
    with pytest.raises(
        ConfigurationError,
        match="^frames_per_step: found 1, expected about 2.06: 101 frames",
    ):
        compute_features(torch.randn(1, 16000))


# Padding -------------------------------------------------------------------


def test_features_of_an_utterance_are_those_that_it_has_alone():
    compute_features = waveform_features(CentredEncoder)
    signals, batch = padded_batch()
    features = features_of(compute_features, batch, LENGTHS)
    for row, signal in zip(features, signals, strict=True):
        alone = compute_features(signal)[0]
        assert torch.equal(row[: len(alone), MEL_BINS:], alone[:, MEL_BINS:])


def test_what_stands_in_the_padding_is_not_encoded():
    compute_features = waveform_features(CentredEncoder)
    expected = compute_features(padded_batch()[1], LENGTHS)[..., MEL_BINS:]
    other = compute_features(padded_batch(float("nan"))[1], LENGTHS)
    assert torch.equal(other[..., MEL_BINS:], expected)


def test_without_lengths_zeros_are_audio():
    compute_features = waveform_features(CentredEncoder)
    _, batch = padded_batch()
    whole = compute_features(batch)
    assert torch.equal(whole, compute_features(batch, torch.ones(2)))
    assert not torch.allclose(whole, compute_features(batch, LENGTHS))


def test_features_that_ask_for_no_lengths_are_given_none():
    _, batch = padded_batch()
    banks = Fbank(n_mels=MEL_BINS)
    assert torch.equal(features_of(banks, batch, LENGTHS), banks(batch))


# Short signals -------------------------------------------------------------


@pytest.mark.parametrize("samples", [1, 159, 399, 400, 720])
def test_short_signal_is_followed_by_silence(samples):
    compute_features = waveform_features(CentredEncoder)
    signal = torch.randn(1, samples)
    silence = torch.zeros(1, max(400 - samples, 0))
    encoded = compute_features.encoder(torch.cat([signal, silence], 1))
    features = compute_features(signal)
    assert features.shape[1] == samples // 160 + 1
    assert torch.equal(features[0, 0, MEL_BINS:], encoded[0, 0])


@pytest.mark.parametrize("samples", [0, 3, 300])
def test_short_signal_in_a_batch_is_that_alone(samples):
    compute_features = waveform_features()
    batch = torch.randn(2, 16000)
    lengths = torch.tensor([1.0, samples / 16000])
    features = compute_features(batch, lengths)[1, :1, MEL_BINS:]
    silence = torch.zeros(1, 400 - samples)
    alone = torch.cat([batch[1:, :samples], silence], 1)
    assert torch.equal(features, compute_features.encoder(alone)[0])


class Windows(torch.nn.Module):
    """Gives no frame where others raise an error."""

    def forward(self, signals):
        windows = signals[:, : signals.shape[1] // 500 * 500]
        return windows.unflatten(1, (-1, 500))[..., :SECOND]


def test_signal_without_a_frame_is_an_error_of_one_line():
    compute_features = waveform_features(Windows)
    with pytest.raises(
        AudioError,
        match="^signal: found 400 steps, expected enough for a frame of Windo",
    ):
        compute_features(torch.randn(1, 16))
    long_enough = waveform_features(Windows, shortest=500)
    assert long_enough(torch.randn(1, 16)).shape == (1, 1, MEL_BINS + SECOND)


# The encoder ---------------------------------------------------------------


def test_frozen_encoder_repeats_the_last_frame():
    frozen = FrozenEncoder(WaveformEncoder(), SECOND)
    signals, batch = padded_batch()
    encoded = frozen(batch, LENGTHS)
    alone = frozen(signals[1])[0]
    assert encoded.shape == (2, 49, SECOND)
    assert torch.equal(encoded[1, : len(alone)], alone)
    assert (encoded[1, len(alone) :] == alone[-1]).all()


def test_normalizer_loads_statistics_of_the_filter_banks(tmp_path):
    lengths = torch.tensor([1.0, 0.6])
    banks = torch.randn(2, 10, MEL_BINS) * 3 + 1
    trained = InputNormalization().train()
    expected = trained(banks, lengths)
    trained._save(tmp_path / "normalize.ckpt")
    first = FirstChannelsNormalization(MEL_BINS).eval()
    first._load(tmp_path / "normalize.ckpt")
    second = torch.randn(2, 10, SECOND)
    normalized = first(torch.cat([banks, second], -1), lengths)
    assert torch.equal(normalized[..., :MEL_BINS], expected)
    assert torch.equal(normalized[..., MEL_BINS:], second)
