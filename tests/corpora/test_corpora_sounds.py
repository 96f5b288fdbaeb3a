import csv
import hashlib
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torchaudio.functional import resample
from torchaudio.transforms import MelSpectrogram

from speechbrain_acom.corpora import make_sound_corpus
from speechbrain_acom.corpora.acoustics import (
    add_noise,
    coloured_noise,
    in_room,
    power,
)
from speechbrain_acom.corpora.sound_classes import (
    SOUND_CLASSES,
    random_source,
    render,
)

URBAN_SOUND_CLASSES = {
    *("air_conditioner", "car_horn", "children_playing", "dog_bark"),
    *("drilling", "engine_idling", "gun_shot", "jackhammer", "siren"),
    "street_music",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("sounds") / "corpus"
    assert make_sound_corpus(path, seed=0, clips=1000).clips == 1000
    return path


@pytest.fixture(scope="module")
def rows(folder):
    table = folder / "metadata" / "UrbanSound8K.csv"
    with table.open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def audio_path(folder, row):
    return folder / "audio" / f"fold{row['fold']}" / row["slice_file_name"]


def digests(folder):
    return {
        path.name: hashlib.sha256(soundfile.read(path)[0].tobytes()).digest()
        for path in Path(folder).rglob("*.wav")
    }


def test_header_is_that_of_urbansound8k(folder):
    table = folder / "metadata" / "UrbanSound8K.csv"
    assert table.read_text().split("\n")[0] == (
        "slice_file_name,fsID,start,end,salience,fold,classID,class"
    )


def test_every_row_has_its_file_and_every_file_its_row(folder, rows):
    listed = {audio_path(folder, row) for row in rows}
    assert listed == set((folder / "audio").rglob("*.wav"))
    assert len(listed) == len(rows) == 1000


def test_file_name_repeats_source_and_class(rows):
    for row in rows:
        source, label, _, _ = row["slice_file_name"][:-4].split("-")
        assert (source, label) == (row["fsID"], row["classID"])


def test_folds_and_classes_are_balanced(rows):
    cells = Counter((row["fold"], row["classID"]) for row in rows)
    assert len(cells) == 100 and set(cells.values()) == {10}


def test_all_slices_of_a_source_lie_in_one_fold_and_class(rows):
    places = defaultdict(set)
    for row in rows:
        places[row["fsID"]].add((row["fold"], row["classID"]))
    assert all(len(place) == 1 for place in places.values())
    assert 300 < len(places) < 700


def test_names_are_the_classes_own(rows):
    names = {(int(row["classID"]), row["class"]) for row in rows}
    assert names == {(i, entry.name) for i, entry in enumerate(SOUND_CLASSES)}
    assert not URBAN_SOUND_CLASSES & {name for _, name in names}


def test_formats_and_durations(folder, rows):
    formats, shorter = Counter(), 0
    for row in rows:
        info = soundfile.info(audio_path(folder, row))
        formats[info.samplerate, info.channels, info.subtype] += 1
        assert 1.0 <= info.duration <= 4.0
        told = float(row["end"]) - float(row["start"])
        assert told == pytest.approx(info.duration, abs=1e-5)
        shorter += info.duration < 3.99
    assert set(formats) == {(16000, 1, "PCM_16"), (44100, 2, "PCM_16")}
    assert 5 <= formats[44100, 2, "PCM_16"] <= 40
    assert 60 <= shorter <= 140


def test_no_clip_is_silent_or_clipped(folder, rows):
    for row in rows[::7]:
        samples, _ = soundfile.read(audio_path(folder, row))
        assert 0.1 < np.max(np.abs(samples)) < 0.95


def test_same_seed_gives_the_same_samples_and_another_seed_others(tmp_path):
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        make_sound_corpus(tmp_path / name, seed=seed, clips=20)
    first, second, other = (digests(tmp_path / name) for name in "abc")
    assert first == second
    assert not set(first.values()) & set(other.values())


def test_odd_numbers_of_clips_are_all_made(tmp_path):
    make_sound_corpus(tmp_path / "odd", clips=33)
    assert len(list(tmp_path.rglob("*.wav"))) == 33


@pytest.mark.parametrize("entry", SOUND_CLASSES, ids=lambda entry: entry.name)
def test_every_sound_is_finite_at_every_length_and_rate(entry):
    rng = np.random.default_rng(0)
    for samples, rate in ((16000, 16000), (64000, 16000), (176400, 44100)):
        sound = render(entry, random_source(rng), samples, rate, rng)
        assert sound.shape == (samples,)
        assert power(sound) == pytest.approx(1.0)


def test_linear_probe_on_mean_filterbanks_does_not_solve_the_corpus(
    folder, rows
):
    """Not below chance either: the corpus is hard, not void."""
    features = torch.stack(
        [mean_filterbank(audio_path(folder, row)) for row in rows]
    )
    labels = torch.tensor([int(row["classID"]) for row in rows])
    folds = torch.tensor([int(row["fold"]) for row in rows])
    train, test = folds <= 8, folds == 10
    features -= features[train].mean(0)
    features /= features[train].std(0)
    predicted = probe(features[train], labels[train], features[test])
    accuracy = (predicted == labels[test]).double().mean().item()
    assert 0.2 < accuracy < 0.7


def mean_filterbank(path):
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    mono = resample(torch.from_numpy(samples).mean(1), rate, 16000)
    filterbank = MelSpectrogram(16000, n_fft=512, hop_length=160, n_mels=40)
    return torch.log(filterbank(mono) + 1e-6).mean(1)


def probe(features, labels, test):
    """Multinomial logistic regression, full batch."""
    torch.manual_seed(0)
    model = torch.nn.Linear(features.shape[1], 10)
    optimizer = torch.optim.LBFGS(
        model.parameters(), max_iter=200, line_search_fn="strong_wolfe"
    )

    def closure():
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(features), labels)
        loss = loss + 1e-3 * model.weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return model(test).argmax(1)


def test_noise_is_mixed_at_the_asked_snr():
    rng = np.random.default_rng(0)
    signal = rng.standard_normal(8000)
    noise = coloured_noise(rng, 8000, 16000)
    for snr_db in (-3.0, 0.0, 20.0):
        added = add_noise(signal, noise, snr_db) - signal
        found = 10 * np.log10(power(signal) / power(added))
        assert found == pytest.approx(snr_db)


def test_room_only_adds_what_comes_later():
    click = np.zeros(8000)
    click[1000] = 1.0
    heard = in_room(np.random.default_rng(0), click, 16000)
    assert np.allclose(heard[:1000], 0.0, atol=1e-9)
    assert heard[1000] == pytest.approx(1.0)
    assert 0.01 < np.sum(heard[1001:] ** 2) < 1.0
