"""Real recordings through the whole line, where they are at hand."""

import csv
from pathlib import Path

import pytest

from speechbrain_acom.audio import load_audio, probe_audio
from speechbrain_acom.inference import Label, load_interface

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
CLIPS = 5


def real_clips(name):
    folder = DATA / name
    if not (folder / "manifest.csv").is_file():
        pytest.skip(f"the real recordings of {name} are not at hand")
    with open(folder / "manifest.csv", newline="") as handle:
        rows = list(csv.DictReader(handle))
    step = len(rows) // CLIPS
    return [folder / row["file"] for row in rows[::step][:CLIPS]]


@pytest.mark.parametrize("name", ["librispeech_mini", "urbansound8k_mini"])
def test_real_recordings_are_read_whole(name):
    for path in real_clips(name):
        signal = load_audio(path, 16000)
        assert len(signal) == round(probe_audio(path).seconds * 16000)
        assert 0 < signal.abs().max() < 2


def test_real_speech_goes_through_bytes(recogniser):
    paths = real_clips("librispeech_mini")
    asr = load_interface(recogniser.folder)
    for path in paths:
        message = asr.encode_file(path)
        assert len(message) > 5
        assert asr.decode(message) == asr.transcribe_file(path)


def test_real_sounds_go_through_bytes(classifier):
    paths = real_clips("urbansound8k_mini")
    interface = load_interface(classifier.folder)
    for path in paths:
        label = interface.decode(interface.encode_file(path))
        assert isinstance(label, Label)
        assert label == interface.classify_file(path)
