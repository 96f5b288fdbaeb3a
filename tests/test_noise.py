"""Test sets with noise and in rooms: the same mixtures for every model."""

import csv

import numpy as np
import pytest
import soundfile
import torch

from speechbrain_acom.errors import ConfigurationError, DataError
from speechbrain_acom.manifests import write_manifest
from speechbrain_acom.noise import NoisyTests, noisy_name, write_noisy

RATE = 16000


def tone(length=8000):
    return 0.1 * torch.sin(torch.arange(length) * 0.05)


@pytest.fixture
def noises(tmp_path):
    """Three noises of other rates and lengths, some shorter than a tone."""
    folder = tmp_path / "noises" / "deep"
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for number, (rate, length) in enumerate(
        [(8000, 1000), (16000, 30000), (44100, 20000)]
    ):
        samples = generator.standard_normal(length) * 0.1
        soundfile.write(folder / f"{number}.wav", samples, rate)
    (folder / "readme.txt").write_text("no audio")
    return str(tmp_path / "noises")


@pytest.fixture
def rooms(tmp_path):
    """An echo after 100 samples, half as loud, direct sound after 20."""
    folder = tmp_path / "rooms"
    folder.mkdir()
    response = np.zeros(400)
    response[20], response[120] = 0.8, 0.4
    soundfile.write(folder / "echo.wav", response, RATE, "FLOAT")
    return str(folder)


@pytest.mark.parametrize("snr", [20, 3.5, 0, -5])
def test_the_ratio_is_what_was_asked_for(noises, snr):
    noisy = NoisyTests(noises, [snr])
    for utterance in "abcdef":
        mixed = noisy.changed(tone(), utterance, noisy.names[0], RATE)
        # Loud mixtures are made smaller as a whole.
        share = mixed @ tone() / (tone() @ tone())
        share = 1.0 if mixed.abs().max() < 1 else share
        noise = mixed - share * tone()
        ratio = 20 * torch.log10((share * tone()).norm() / noise.norm())
        assert ratio == pytest.approx(snr, abs=0.5)


def test_mixtures_depend_on_utterance_and_seed_only(noises):
    first = NoisyTests(noises, [5, 0])
    again = NoisyTests(noises, [0])
    other = NoisyTests(noises, [0], seed=1)
    mixtures = [
        noisy.changed(tone(), utterance, "0dB", RATE)
        for noisy in (first, again, other)
        for utterance in ("a", "b")
    ]
    a, b, a_again, b_again, a_other, _ = mixtures
    assert torch.equal(a, a_again) and torch.equal(b, b_again)
    assert not torch.equal(a, b) and not torch.equal(a, a_other)


def test_all_ratios_have_the_same_noise(noises):
    noisy = NoisyTests(noises, [20, 0])
    quiet, loud = (
        noisy.changed(tone(), "a", name, RATE) - tone() for name in noisy.names
    )
    torch.testing.assert_close(quiet * 10, loud, atol=1e-4, rtol=0)


def test_a_room_adds_its_echo_and_no_delay(rooms):
    noisy = NoisyTests(rooms=rooms)
    assert noisy.names == ["room"]
    click = torch.zeros(1000)
    click[300] = 0.5
    heard = noisy.changed(click, "a", "room", RATE)
    assert heard.argmax() == 300
    assert heard[400] / heard[300] == pytest.approx(0.5, abs=1e-3)
    assert heard.norm() == pytest.approx(float(click.norm()), abs=1e-5)


def test_nothing_is_louder_than_full_scale(noises):
    noisy = NoisyTests(noises, [-40])
    assert noisy.changed(tone(), "a", "-40dB", RATE).abs().max() <= 1


def test_silence_stays_silence(noises, rooms):
    noisy = NoisyTests(noises, [0], rooms)
    for name in noisy.names:
        assert not noisy.changed(torch.zeros(100), "a", name, RATE).any()


@pytest.fixture
def manifest(tmp_path):
    for name in ("a", "b"):
        soundfile.write(tmp_path / f"{name}.flac", tone().numpy(), RATE)
    (tmp_path / "bad.flac").write_bytes(b"no audio")
    rows = [
        {"ID": name, "wav": f"$data_root/{name}.flac", "wrd": "YES"}
        for name in ("a", "bad", "b")
    ]
    path = tmp_path / "save" / "test.csv"
    write_manifest(path, rows)
    return path


def rows_of(path):
    with open(path, newline="") as handle:
        return list(csv.DictReader(handle))


def test_a_test_set_is_written_with_every_noise(manifest, noises, tmp_path):
    noisy = NoisyTests(noises, [10, 0])
    write_noisy(noisy, manifest, str(tmp_path), tmp_path / "noisy", RATE)
    for name in noisy.names:
        path = manifest.with_name(f"{noisy_name('test', name)}.csv")
        first, bad, last = rows_of(path)
        assert [row["ID"] for row in (first, bad, last)] == ["a", "bad", "b"]
        assert bad["wav"] == "$data_root/bad.flac"
        assert first["wrd"] == "YES"
        written, rate = soundfile.read(first["wav"])
        mixed = noisy.changed(tone(), "a", name, RATE).numpy()
        assert rate == RATE
        np.testing.assert_allclose(written, mixed, atol=2**-14)


def test_what_was_written_stays_until_settings_change(
    manifest, noises, tmp_path
):
    def write(**settings):
        noisy = NoisyTests(noises, [0], **settings)
        write_noisy(noisy, manifest, str(tmp_path), tmp_path / "noisy", RATE)
        path = rows_of(manifest.with_name("test_0dB.csv"))[0]["wav"]
        return path, soundfile.read(path)[0]

    path, first = write()
    soundfile.write(path, np.zeros(10), RATE)
    assert len(write()[1]) == 10
    assert len(write(seed=1)[1]) == len(first)


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"noises": "no/such/folder"}, "noise.noises"),
        ({"rooms": "no/such/folder"}, "noise.rooms"),
        ({"snrs": ["loud"]}, "noise.snrs"),
        ({"snrs": [True]}, "noise.snrs"),
        ({"snrs": 10}, "noise.snrs"),
        ({"snrs": [float("nan")]}, "noise.snrs"),
    ],
)
def test_wrong_settings_name_their_key(settings, key):
    with pytest.raises(ConfigurationError) as error:
        NoisyTests(**settings)
    assert error.value.key == key
    assert "\n" not in str(error.value)


def test_silent_noises_are_named(tmp_path):
    soundfile.write(tmp_path / "silence.wav", np.zeros(100), RATE)
    noisy = NoisyTests(str(tmp_path), [0])
    with pytest.raises(DataError, match="found silence"):
        noisy.changed(tone(), "a", "0dB", RATE)


@pytest.mark.parametrize("change", ["no manifest", "another manifest"])
def test_a_manifest_that_is_gone_or_changed_is_written_again(
    manifest, noises, tmp_path, change
):
    noisy, target = NoisyTests(noises, [0]), manifest.with_stem("test_0dB")
    places = str(tmp_path), tmp_path / "noisy", RATE
    write_noisy(noisy, manifest, *places)
    if change == "no manifest":
        target.unlink()
    else:
        write_manifest(manifest, rows_of(manifest)[:1])
    write_noisy(noisy, manifest, *places)
    found = [row["ID"] for row in rows_of(target)]
    assert found == [row["ID"] for row in rows_of(manifest)]
