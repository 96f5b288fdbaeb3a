"""Tiny machine-made corpora with files in them that cannot be read."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import soundfile

from speechbrain_acom.corpora import make_sound_corpus, make_speech_corpus

RATE = 16000


def write_nan(path):
    samples = np.zeros(RATE)
    samples[100] = np.nan
    soundfile.write(path, samples, RATE, format="WAV", subtype="FLOAT")


def cut_short(path):
    content = Path(path).read_bytes()
    path.write_bytes(content[: len(content) // 2])


def damage(nan, truncated, empty):
    write_nan(nan)
    cut_short(truncated)
    empty.write_bytes(b"")


@pytest.fixture(scope="session")
def speech(tmp_path_factory):
    """Folder with a minute of speech; six files of it are bad."""
    if find_spec("espeakng_loader") is None:
        pytest.skip("the optional package espeakng_loader is not installed")
    folder = tmp_path_factory.mktemp("speech") / "corpus"
    make_speech_corpus(folder, minutes=1.0, dev_utterances=4, test_utterances=6)
    for split in ("train", "test"):
        files = sorted(folder.glob(f"{split}-synthetic/*/*/*.flac"))
        damage(*files[1:4])
    return folder


@pytest.fixture(scope="session")
def sounds(tmp_path_factory):
    """Folder with 100 sounds; six files of it are bad."""
    folder = tmp_path_factory.mktemp("sounds") / "corpus"
    make_sound_corpus(folder, clips=100)
    for fold in (1, 9):
        damage(*sorted(folder.glob(f"audio/fold{fold}/*.wav"))[1:4])
    return folder
