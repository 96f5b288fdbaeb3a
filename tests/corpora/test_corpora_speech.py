import hashlib
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import soundfile

from speechbrain_acom.corpora import make_speech_corpus
from speechbrain_acom.corpora.__main__ import main
from speechbrain_acom.corpora.espeak import EspeakProcess, Voice, espeak_paths
from speechbrain_acom.corpora.speech import (
    ACCENTS,
    DEV_VARIANTS,
    TEST_VARIANTS,
    TRAIN_VARIANTS,
    random_words,
    speakers,
    vocabulary,
)
from speechbrain_acom.errors import ConfigurationError

needs_espeak = pytest.mark.skipif(
    find_spec("espeakng_loader") is None,
    reason="the optional package espeakng_loader is not installed",
)
SIZES = {"minutes": 0.4, "dev_utterances": 4, "test_utterances": 7}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("speech") / "corpus"
    make_speech_corpus(path, seed=0, **SIZES)
    return path


def transcripts(folder):
    found = {}
    for path in sorted(Path(folder).rglob("*.trans.txt")):
        for line in path.read_text(encoding="utf-8").splitlines():
            identifier, words = line.split(" ", 1)
            assert identifier not in found
            found[identifier] = words
    return found


def digests(folder, pattern="*.flac"):
    return {
        path.name: hashlib.sha256(soundfile.read(path)[0].tobytes()).digest()
        for path in Path(folder).rglob(pattern)
    }


def test_import_of_the_corpora_does_not_import_the_espeak_package():
    code = (
        "import sys, speechbrain_acom.corpora as corpora;"
        "assert 'espeakng_loader' not in sys.modules;"
        "assert 'torch' not in sys.modules"
    )
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root)


def test_without_the_espeak_package_one_line_says_what_to_install(
    monkeypatch, tmp_path, capsys
):
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(ImportError) as error:
        make_speech_corpus(tmp_path / "new")
    message = str(error.value)
    assert 'pip install "speechbrain_acom[corpus]"' in message
    assert "\n" not in message
    assert main(["speech", str(tmp_path / "new")]) == 1
    assert capsys.readouterr().err.strip() == message
    assert not (tmp_path / "new").exists()


def test_no_voice_variant_stands_in_two_splits():
    variants = [*TRAIN_VARIANTS, *DEV_VARIANTS, *TEST_VARIANTS]
    assert len(variants) == len(set(variants))


def test_speakers_are_distinct_and_use_every_accent():
    everybody = [s for part in ("train", "dev", "test") for s in speakers(part)]
    assert len({s.identifier for s in everybody}) == len(everybody)
    assert len({s.voice for s in everybody}) == len(everybody)
    train_accents = {s.voice.split("+")[0] for s in speakers("train")}
    assert train_accents == set(ACCENTS)


def test_sentences_stay_in_the_vocabulary_and_use_all_of_it():
    rng = np.random.default_rng(0)
    said = [random_words(rng) for _ in range(1000)]
    used = {word for words in said for word in words.split()}
    assert used == set(vocabulary())
    assert 30 <= len(used) <= 40
    assert all(2 <= len(words.split()) <= 6 for words in said)


@pytest.mark.parametrize("name", ["seed", *SIZES])
def test_bad_size_is_named(tmp_path, name):
    with pytest.raises(ConfigurationError, match=name):
        make_speech_corpus(tmp_path / "new", **{name: -1})


@needs_espeak
def test_layout_is_that_of_librispeech(folder):
    said = transcripts(folder)
    files = list(folder.rglob("*.flac"))
    assert {path.stem for path in files} == set(said)
    for path in files:
        speaker, chapter, number = path.stem.split("-")
        split = path.relative_to(folder).parts[0]
        assert path.parent == folder / split / speaker / chapter
        assert split in {"train-synthetic", "dev-synthetic", "test-synthetic"}
        assert len(number) == 4
        transcript = path.parent / f"{speaker}-{chapter}.trans.txt"
        assert path.stem in transcript.read_text()


@needs_espeak
def test_audio_is_16_khz_mono_of_1_to_4_seconds(folder):
    for path in folder.rglob("*.flac"):
        info = soundfile.info(path)
        assert (info.samplerate, info.channels) == (16000, 1)
        assert 1.0 <= info.duration <= 4.0
        samples, _ = soundfile.read(path)
        assert 0.1 < np.max(np.abs(samples)) < 0.95


@needs_espeak
def test_sizes_are_those_asked_for(folder):
    def audio(split):
        return list((folder / f"{split}-synthetic").rglob("*.flac"))

    seconds = sum(soundfile.info(path).duration for path in audio("train"))
    assert 24.0 <= seconds < 28.0
    assert len(audio("dev")) == SIZES["dev_utterances"]
    assert len(audio("test")) == SIZES["test_utterances"]
    assert len(list((folder / "test-synthetic").iterdir())) == 6


@needs_espeak
def test_readme_says_that_the_speech_is_synthetic(folder):
    text = (folder / "README.txt").read_text()
    assert "synthetic" in text and "301 test en-us+m3" in text


@needs_espeak
def test_same_seed_gives_the_same_samples(folder, tmp_path):
    make_speech_corpus(tmp_path / "again", seed=0, **SIZES)
    assert digests(folder) == digests(tmp_path / "again")
    assert transcripts(folder) == transcripts(tmp_path / "again")


@needs_espeak
def test_another_seed_gives_other_samples(folder, tmp_path):
    make_speech_corpus(tmp_path / "other", seed=1, **SIZES)
    first, other = digests(folder), digests(tmp_path / "other")
    assert not set(first.values()) & set(other.values())


@needs_espeak
def test_test_split_does_not_depend_on_the_minutes(folder, tmp_path):
    sizes = {**SIZES, "minutes": 0.1}
    make_speech_corpus(tmp_path / "short", seed=0, **sizes)
    pattern = "test-synthetic/*/*/*.flac"
    assert digests(folder, pattern) == digests(tmp_path / "short", pattern)


@needs_espeak
def test_finished_corpus_is_left_alone(folder):
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    made = make_speech_corpus(folder, seed=0, **SIZES)
    assert not made.newly_made and made.clips == len(transcripts(folder))
    after = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert before == after


@needs_espeak
def test_unknown_voice_is_named():
    with EspeakProcess(Voice("no-such-voice")) as espeak:
        with pytest.raises(ConfigurationError, match="no-such-voice"):
            espeak.say("one")


@needs_espeak
def test_end_of_the_espeak_process_is_reported():
    with EspeakProcess(Voice("en")) as espeak:
        espeak._process.kill()
        with pytest.raises(RuntimeError, match="espeak-ng: the process ended"):
            espeak.say("one")


@needs_espeak
def test_missing_voices_are_reported(monkeypatch, tmp_path):
    monkeypatch.setattr(
        "speechbrain_acom.corpora.espeak.espeak_paths",
        lambda: (espeak_paths()[0], str(tmp_path)),
    )
    with pytest.raises(RuntimeError, match="no voices found"):
        EspeakProcess(Voice("en"))
