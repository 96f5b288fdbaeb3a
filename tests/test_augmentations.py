"""Other voices and other microphones, made of features."""

import pytest
import torch
from speechbrain.lobes.features import Fbank

from speechbrain_acom.augmentations import MicrophoneCurve, VocalTractWarp
from speechbrain_acom.errors import ConfigurationError

RATE, BANDS = 16000, 80


def tone(hertz):
    return torch.sin(2 * torch.pi * hertz * torch.arange(RATE) / RATE)


def loudest(features):
    return features.mean(1).argmax(dim=1)


@pytest.fixture
def warp():
    return VocalTractWarp(RATE)


def test_centres_are_those_of_the_filter_banks(warp):
    fbank = Fbank(n_mels=BANDS, sample_rate=RATE)
    for band in (5, 20, 50, 75):
        features = fbank(tone(float(warp.centres(BANDS)[band])).unsqueeze(0))
        assert abs(int(loudest(features)) - band) <= 1


def test_a_factor_of_one_changes_nothing(warp):
    features = torch.randn(2, 5, BANDS)
    warped = warp.warped(features, torch.ones(2))
    torch.testing.assert_close(warped, features, atol=2e-3, rtol=0)


@pytest.mark.parametrize("factor", [0.8, 1.25])
@pytest.mark.parametrize("hertz", [500.0, 1000.0, 2500.0])
def test_a_tone_is_moved_by_the_factor(warp, factor, hertz):
    fbank = Fbank(n_mels=BANDS, sample_rate=RATE)
    features = fbank(torch.stack([tone(hertz), tone(hertz / factor)]))
    warped = warp.warped(features[:1], torch.tensor([factor]))
    assert abs(int(loudest(warped) - loudest(features[1:]))) <= 1


@pytest.mark.parametrize("factor", [0.5, 0.8, 1.25, 2.0])
def test_frequencies_stay_in_order_and_in_range(warp, factor):
    centres = warp.centres(BANDS)
    [sources] = warp._sources(centres, torch.tensor([[factor]]))
    assert (sources.diff() > 0).all()
    assert sources.min() >= 0 and sources.max() <= RATE / 2


def test_every_utterance_has_a_voice_of_its_own(warp):
    torch.manual_seed(0)
    features = torch.randn(1, 5, BANDS).repeat(6, 1, 1)
    warped = warp(features)
    assert len({tuple(one.flatten().tolist()) for one in warped}) == 6
    # Of one utterance all frames are warped alike.
    still = warp(torch.randn(1, 1, BANDS).repeat(2, 5, 1))
    assert torch.equal(still[:, :1].expand(-1, 5, -1), still)


def test_gradients_pass(warp):
    features = torch.randn(2, 5, BANDS, requires_grad=True)
    warp(features).sum().backward()
    assert features.grad.abs().sum() > 0


def test_a_curve_is_the_same_in_every_frame_and_smooth():
    torch.manual_seed(0)
    curve = MicrophoneCurve(spread=4.0)(torch.zeros(200, 3, BANDS))
    assert torch.equal(curve[:, :1].expand(-1, 3, -1), curve)
    assert curve[:, 0].std() == pytest.approx(4.0, rel=0.1)
    assert curve[:, 0].diff(dim=1).abs().max() < 4.0
    assert curve[:, 0].mean(1).abs().max() < 1e-4


@pytest.mark.parametrize("size", [0, 1, 2])
def test_few_bands_and_no_frames(size):
    features = torch.randn(2, 3, max(size, 1))
    bands = features.shape[2]
    assert VocalTractWarp(RATE)(features).shape == features.shape
    assert MicrophoneCurve()(features[:, :0]).shape == (2, 0, bands)


@pytest.mark.parametrize(
    ("make", "key"),
    [
        (lambda: VocalTractWarp(RATE, lowest=0.0), "lowest"),
        (lambda: VocalTractWarp(RATE, lowest=1.5), "lowest"),
        (lambda: MicrophoneCurve(waves=0), "waves"),
    ],
)
def test_wrong_settings_name_their_key(make, key):
    with pytest.raises(ConfigurationError) as error:
        make()
    assert error.value.key == key
