import logging
import pickle

import numpy as np
import pytest
import soundfile
import torch
from speechbrain.dataio.dataloader import make_dataloader
from speechbrain.dataio.sampler import DynamicBatchSampler

from speechbrain_acom import dataio
from speechbrain_acom.dataio import (
    ReadableBatch,
    SkippedExample,
    SkipRecord,
    manifest_dataset,
)
from speechbrain_acom.errors import DataError

RATE = 16000
BAD = {"u2", "u4", "u5"}


@pytest.fixture
def manifest(tmp_path):
    """Seven utterances; u2 is no audio, u4 and u5 (one batch) are NaN, gone."""
    generator = np.random.default_rng(0)
    lines = ["ID,duration,wav,wrd"]
    for index in range(7):
        name = f"u{index}"
        samples = generator.uniform(-0.5, 0.5, 1600 + 80 * index)
        if name == "u4":
            samples[7] = np.nan
        if name != "u5":
            soundfile.write(tmp_path / f"{name}.wav", samples, RATE, "FLOAT")
        lines.append(
            f"{name},{len(samples) / RATE},$data_root/{name}.wav,YES NO"
        )
    (tmp_path / "u2.wav").write_text("no audio")
    path = tmp_path / "train.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def dataset(manifest):
    dataset = manifest_dataset(manifest, manifest.parent, RATE)
    dataset.set_output_keys(["id", "sig", "wrd"])
    return dataset


def loader_of(dataset, **options):
    return make_dataloader(dataset, collate_fn=ReadableBatch, **options)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_bad_files_are_skipped_named_once_and_counted(
    dataset, caplog, num_workers
):
    loader = loader_of(dataset, batch_size=2, num_workers=num_workers)
    record = SkipRecord()
    with caplog.at_level(logging.WARNING, logger=dataio.__name__):
        for _ in range(2):
            sizes, names = [], []
            for batch in loader:
                record.add(batch)
                sizes.append(len(batch))
                if batch:
                    names.extend(batch.id)
    assert sizes == [2, 1, 0, 1]
    assert names == ["u0", "u1", "u3", "u6"]
    assert set(record.reasons) == BAD and len(record) == 3
    messages = [entry.getMessage() for entry in caplog.records]
    assert len(messages) == 3
    for name in BAD:
        assert any(f"{name}.wav: found " in message for message in messages)


def test_readable_examples_are_padded_as_always(dataset):
    batch = next(iter(loader_of(dataset, batch_size=4)))
    assert batch.id == ["u0", "u1", "u3"]
    assert batch.sig.data.shape == (3, 1600 + 80 * 3)
    expected = torch.tensor([1600.0, 1680.0, 1840.0]) / 1840
    torch.testing.assert_close(batch.sig.lengths, expected)
    assert batch.wrd == ["YES NO"] * 3


def test_batch_moves_and_changes_type(dataset):
    batch = next(iter(loader_of(dataset, batch_size=4)))
    moved = batch.to(torch.float64)
    assert moved.sig.data.dtype == torch.float64
    assert [skipped.example_id for skipped in moved.skipped] == ["u2"]


def test_batch_without_a_readable_example_is_false_but_usable():
    skipped = SkippedExample("u", "u.wav: found 0 samples")
    batch = ReadableBatch([skipped, skipped])
    assert not batch
    assert len(batch) == batch.batchsize == 0
    assert batch.to("cpu") is batch
    assert list(batch) == []
    assert pickle.loads(pickle.dumps(batch)).skipped == (skipped, skipped)


def test_fetching_a_bad_example_gives_its_reason(dataset, manifest):
    skipped = dataset[2]
    assert skipped.example_id == "u2"
    assert skipped.reason.startswith(f"{manifest.parent / 'u2.wav'}: found ")


def test_filtered_sorted_and_repeated_data_sets_skip_too(dataset):
    longest_first = dataset.filtered_sorted(sort_key="duration", reverse=True)
    longest_first.set_output_keys(["id", "sig"])
    batch = ReadableBatch([longest_first[index] for index in range(7)])
    assert batch.id == ["u6", "u3", "u1", "u0"]
    assert {skipped.example_id for skipped in batch.skipped} == BAD
    repeated = dataset.overfit_test(3, 6)
    assert isinstance(repeated[5], SkippedExample)


def test_items_made_from_the_signal_are_skipped_with_it(dataset):
    dataset.add_dynamic_item(lambda sig: sig.abs().max(), "sig", "peak")
    dataset.set_output_keys(["id", "peak"])
    assert isinstance(dataset[4], SkippedExample)
    assert 0 < dataset[3]["peak"] <= 0.5


def test_audio_is_not_read_when_no_key_asks_for_it(dataset):
    with dataset.output_keys_as(["id", "wrd"]):
        assert dataset[2] == {"id": "u2", "wrd": "YES NO"}


def test_other_errors_of_the_pipeline_are_not_hidden(dataset):
    dataset.add_dynamic_item(lambda wrd: int(wrd), "wrd", "number")
    dataset.set_output_keys(["id", "number"])
    with pytest.raises(ValueError, match="invalid literal"):
        dataset[0]


def test_dynamic_batches_are_collated(dataset):
    sampler = DynamicBatchSampler(dataset, 0.2, num_buckets=2, shuffle=False)
    batches = list(loader_of(dataset, batch_sampler=sampler))
    assert sorted(name for batch in batches if batch for name in batch.id) == [
        "u0",
        "u1",
        "u3",
        "u6",
    ]
    assert sum(len(batch.skipped) for batch in batches) == 3


def test_data_set_can_be_sent_to_a_spawned_worker(dataset):
    copy = pickle.loads(pickle.dumps(dataset))
    assert torch.equal(copy[0]["sig"], dataset[0]["sig"])


def test_signal_is_resampled_to_the_rate_asked_for(manifest):
    dataset = manifest_dataset(manifest, manifest.parent, RATE // 2)
    dataset.set_output_keys(["sig"])
    assert dataset[0]["sig"].shape == (800,)


def test_signal_of_a_few_samples_is_followed_by_silence(manifest):
    samples = np.full(3, 0.5)
    soundfile.write(manifest.parent / "u0.wav", samples, RATE, "FLOAT")
    dataset = manifest_dataset(manifest, manifest.parent, RATE)
    dataset.set_output_keys(["sig"])
    signal = dataset[0]["sig"]
    assert signal.shape == (1600,)
    assert signal[:3].tolist() == [0.5] * 3 and not signal[3:].any()


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (None, "no such manifest"),
        ("ID,wav\n", "no rows"),
        ("ID,duration\na,1.0\n", "no column wav"),
        ("name,wav\na,b.wav\n", "ID"),
        ("ID,wav\na,a.wav\na,a.wav\n", "Duplicate id"),
        ("ID,wav\na,$elsewhere/a.wav\n", "elsewhere"),
    ],
)
def test_unusable_manifest_is_named_in_one_line(tmp_path, content, found):
    path = tmp_path / "train.csv"
    if content is not None:
        path.write_text(content)
    with pytest.raises(DataError) as caught:
        manifest_dataset(path, tmp_path, RATE)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and found in message
    assert "\n" not in message
