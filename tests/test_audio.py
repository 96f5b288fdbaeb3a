import logging

import numpy as np
import pytest
import soundfile
import torch

from speechbrain_acom import audio
from speechbrain_acom.audio import load_audio, probe_audio
from speechbrain_acom.errors import AudioError, ConfigurationError

RATE = 16000


def noise(frames=RATE, channels=1, seed=0):
    generator = np.random.default_rng(seed)
    samples = generator.uniform(-0.5, 0.5, (frames, channels))
    return samples.astype("float32")


def write(path, samples=None, rate=RATE, **options):
    samples = noise() if samples is None else samples
    soundfile.write(path, samples, rate, **options)
    return path


def tone(rate, seconds=1.0, hertz=440.0):
    time = np.arange(int(rate * seconds)) / rate
    return 0.5 * np.sin(2 * np.pi * hertz * time)


@pytest.mark.parametrize(
    ("suffix", "subtype", "tolerance"),
    [
        ("wav", "PCM_U8", 1e-2),
        ("wav", "PCM_16", 1e-4),
        ("wav", "PCM_24", 1e-6),
        ("wav", "PCM_32", 1e-6),
        ("wav", "FLOAT", 0.0),
        ("wav", "DOUBLE", 0.0),
        ("flac", "PCM_16", 1e-4),
        ("flac", "PCM_24", 1e-6),
        ("aiff", "PCM_16", 1e-4),
    ],
)
def test_lossless_encodings_give_the_samples(
    tmp_path, suffix, subtype, tolerance
):
    samples = noise()
    path = write(tmp_path / f"a.{suffix}", samples, subtype=subtype)
    signal = load_audio(path, RATE)
    assert signal.dtype == torch.float32
    assert signal.shape == (RATE,)
    assert np.abs(signal.numpy() - samples[:, 0]).max() <= tolerance


@pytest.mark.parametrize("suffix", ["ogg", "mp3"])
def test_lossy_encodings_resemble_the_samples(tmp_path, suffix):
    samples = tone(RATE)
    signal = load_audio(write(tmp_path / f"a.{suffix}", samples), RATE)
    assert signal.shape == (RATE,)
    correlation = np.corrcoef(signal.numpy(), samples)[0, 1]
    assert correlation > 0.98


def test_channels_are_averaged(tmp_path):
    samples = noise(channels=3)
    path = write(tmp_path / "a.wav", samples, subtype="FLOAT")
    expected = torch.from_numpy(samples.mean(axis=1))
    torch.testing.assert_close(load_audio(path, RATE), expected)


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000, 96000])
def test_other_sample_rates_are_resampled(tmp_path, rate):
    path = write(tmp_path / "a.wav", tone(rate), rate, subtype="FLOAT")
    signal = load_audio(path, RATE)
    assert signal.shape == (RATE,)
    inner = slice(RATE // 10, -RATE // 10)
    error = np.abs(signal.numpy() - tone(RATE))[inner].max()
    assert error < 0.01


def test_sample_rates_without_common_divisor_need_little_memory(tmp_path):
    path = write(tmp_path / "a.wav", tone(47999), 47999, subtype="FLOAT")
    assert load_audio(path, RATE).shape[0] == pytest.approx(RATE, rel=1e-3)


def test_conversion_is_logged_with_the_name_and_only_once_as_info(
    tmp_path, caplog, monkeypatch
):
    monkeypatch.setattr(audio, "_conversions_logged", set())
    first = write(tmp_path / "first.wav", noise(800, 2), 8000)
    second = write(tmp_path / "second.wav", noise(800, 2), 8000)
    untouched = write(tmp_path / "untouched.wav")
    with caplog.at_level(logging.DEBUG, logger=audio.__name__):
        for path in (first, second, untouched):
            load_audio(path, RATE)
    records = [
        (record.levelno, record.getMessage()) for record in caplog.records
    ]
    assert [level for level, _ in records] == [logging.INFO, logging.DEBUG]
    assert str(first) in records[0][1] and "8000 Hz" in records[0][1]
    assert str(second) in records[1][1]


def test_header_gives_length_rate_and_channels(tmp_path):
    info = probe_audio(write(tmp_path / "a.flac", noise(4000, 2), 8000))
    assert (info.seconds, info.sample_rate, info.channels) == (0.5, 8000, 2)


def missing(path):
    return path


def folder(path):
    path.mkdir()
    return path


def empty(path):
    path.write_bytes(b"")
    return path


def text(path):
    path.write_text("this is not audio at all\n" * 20)
    return path


def no_samples(path):
    return write(path, noise(0))


def half(path, keep=0.5):
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])
    return path


def truncated_wav(path):
    return half(write(path))


def header_only(path):
    return half(write(path), keep=0.0015)


HEADER_FAULTS = [
    (missing, "no such file"),
    (folder, "a folder"),
    (empty, "an empty file"),
    (text, "no readable audio"),
    (no_samples, "0 samples"),
    (truncated_wav, "cut short"),
]


@pytest.mark.parametrize(("make", "found"), HEADER_FAULTS)
@pytest.mark.parametrize(
    "read", [probe_audio, lambda path: load_audio(path, RATE)]
)
def test_unusable_file_is_named_in_one_line(tmp_path, make, found, read):
    path = make(tmp_path / "bad.wav")
    with pytest.raises(AudioError) as caught:
        read(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: found ")
    assert found in message and "expected" in message
    assert "\n" not in message


@pytest.mark.parametrize("suffix", ["flac", "ogg", "mp3", "aiff", "au", "w64"])
@pytest.mark.parametrize("keep", [0.3, 0.6, 0.9])
def test_truncated_file_of_any_format_is_refused(tmp_path, suffix, keep):
    path = half(write(tmp_path / f"a.{suffix}", noise(5 * RATE)), keep)
    with pytest.raises(AudioError, match="a\\." + suffix):
        load_audio(path, RATE)


def test_file_cut_within_its_header_is_refused(tmp_path):
    with pytest.raises(AudioError, match="bad.wav"):
        load_audio(header_only(tmp_path / "bad.wav"), RATE)


def test_flac_damaged_in_the_middle_is_refused(tmp_path):
    path = write(tmp_path / "a.flac")
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 400] = bytes(400)
    path.write_bytes(content)
    with pytest.raises(AudioError, match="damaged audio|cut short"):
        load_audio(path, RATE)


def test_wav_written_into_a_pipe_is_read(tmp_path):
    path = write(tmp_path / "a.wav")
    content = path.read_bytes()
    place = content.index(b"data") + 4
    unknown = b"\xff\xff\xff\xff"
    path.write_bytes(content[:place] + unknown + content[place + 4 :])
    assert load_audio(path, RATE).shape == (RATE,)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_not_finite_are_counted(tmp_path, value):
    samples = noise(1000, 2)
    samples[[3, 5], 1] = value
    path = write(tmp_path / "bad.wav", samples, subtype="FLOAT")
    with pytest.raises(AudioError, match="2 of 1000 samples NaN or infinite"):
        load_audio(path, RATE)


def test_opposite_infinities_in_two_channels_are_found(tmp_path, recwarn):
    samples = noise(1000, 2)
    samples[7] = np.inf, -np.inf
    path = write(tmp_path / "bad.wav", samples, subtype="FLOAT")
    with pytest.raises(AudioError, match="1 of 1000 samples NaN or infinite"):
        load_audio(path, RATE)
    assert [w for w in recwarn if w.category is RuntimeWarning] == []


def test_absurd_sample_rate_is_refused(tmp_path):
    path = write(tmp_path / "bad.wav", noise(100), 2**31 - 1)
    with pytest.raises(AudioError, match="sample rate of 2147483647 Hz"):
        load_audio(path, RATE)


def test_requested_sample_rate_is_checked(tmp_path):
    with pytest.raises(ConfigurationError, match="sample_rate: found 0"):
        load_audio(write(tmp_path / "a.wav"), 0)


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
def test_random_damage_gives_audio_or_an_audio_error(tmp_path, suffix):
    path = write(tmp_path / f"a.{suffix}", noise(4000))
    intact = path.read_bytes()
    generator = np.random.default_rng(0)
    refused = 0
    for _ in range(40):
        content = bytearray(intact)
        for place in generator.integers(0, min(len(intact), 120), size=4):
            content[place] = generator.integers(256)
        path.write_bytes(content)
        try:
            signal = load_audio(path, RATE)
        except AudioError:
            refused += 1
        else:
            assert torch.isfinite(signal).all() and len(signal) > 0
    assert 0 < refused
