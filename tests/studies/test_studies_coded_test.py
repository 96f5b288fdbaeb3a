"""A test set that is coded here and answered by another process."""

import json

import exported_models
import numpy as np
import pytest
import soundfile

from speechbrain_acom.entropy.bitstream import read_header, read_message
from speechbrain_acom.errors import DataError
from speechbrain_acom.inference import copy_half, load_interface
from speechbrain_acom.studies import coded_test
from speechbrain_acom.studies.coded_test import TestItem, run_coded_test

RATE = exported_models.RATE
SECONDS = {"a": 3.0, "b.one": 2.0, "c": 0.01}


@pytest.fixture(scope="module")
def items(tmp_path_factory):
    """Three sounds, the last very short, and one file that is no audio."""
    folder = tmp_path_factory.mktemp("sounds")
    generator = np.random.default_rng(0)
    made = []
    for name, seconds in SECONDS.items():
        path = folder / f"{name}.wav"
        samples = generator.standard_normal(round(seconds * RATE))
        soundfile.write(path, 0.1 * samples, RATE)
        made.append(TestItem(name, str(path), f"target of {name}"))
    (folder / "bad.wav").write_text("no audio at all")
    bad = TestItem("bad", str(folder / "bad.wav"), "nothing")
    return [made[0], bad, *made[1:]]


@pytest.fixture(scope="module")
def device(recogniser, tmp_path_factory):
    """Only the device half, which cannot answer."""
    folder = tmp_path_factory.mktemp("device")
    copy_half(recogniser.folder, "device", folder)
    return load_interface(folder, "device")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the test writes; with what an earlier one left."""
    folder = tmp_path_factory.mktemp("coded")
    (folder / "messages" / "real").mkdir(parents=True)
    (folder / "messages" / "real" / "old.acom").write_bytes(b"old")
    (folder / "notes.txt").write_text("not of a test")
    return folder


@pytest.fixture(scope="module")
def outcome(device, recogniser, items, folder):
    return run_coded_test(device, recogniser.folder, items, folder, seed=5)


def messages(folder, variant):
    """Contents of the messages, in the order of the items."""
    place = folder / "messages" / variant
    return [(place / f"{name}.acom").read_bytes() for name in SECONDS]


def codes_of(device, folder, variant):
    framing = device.bottleneck.framing
    return [
        read_message(one, device.prior, device.model_hash, framing).codes
        for one in messages(folder, variant)
    ]


def test_unreadable_file_is_left_out_and_counted(outcome):
    assert outcome.skipped == ["bad"]
    assert outcome.targets == [f"target of {name}" for name in SECONDS]
    assert outcome.seconds == pytest.approx(sum(SECONDS.values()))


def test_second_process_had_the_cloud_half_only(outcome, folder):
    names = {path.name for path in (folder / "cloud").iterdir()}
    assert names == {"cloud.yaml", "cloud.ckpt", "prior.ckpt", "tokenizer.ckpt"}


def test_answers_were_written_by_another_process(outcome, folder):
    answers = json.loads((folder / "answers.json").read_text())
    assert len(answers) == 3 * len(SECONDS)
    assert all(answer["error"] is None for answer in answers)


@pytest.mark.parametrize("variant", ["real", "random", "constant"])
def test_answers_are_those_to_the_messages(
    outcome, recogniser, folder, variant
):
    cloud = load_interface(recogniser.folder, "cloud")
    expected = [cloud.decode(one) for one in messages(folder, variant)]
    assert getattr(outcome, variant) == expected


def test_real_messages_are_what_the_device_encodes(
    outcome, device, items, folder
):
    encoded = [
        device.encode_file(item.path) for item in items if item.name != "bad"
    ]
    assert messages(folder, "real") == encoded


def test_controls_say_nothing_of_the_audio(outcome, device, folder):
    real = codes_of(device, folder, "real")
    random = codes_of(device, folder, "random")
    constant = codes_of(device, folder, "constant")
    likeliest = [table.argmax() for table in device.prior.tables]
    for codes, control, repeated in zip(real, random, constant, strict=True):
        assert codes.shape == control.shape == repeated.shape
        assert (repeated == likeliest).all()
    # All entries of both codebooks are drawn, about as often.
    drawn = np.concatenate(random)
    assert (np.bincount(drawn.ravel(), minlength=16) > 0).all()
    assert (np.concatenate(real) == drawn).mean() < 0.3


def test_rates_are_those_of_the_bytes(outcome, device, folder):
    real = messages(folder, "real")
    payloads = [read_header(one).payload_bytes for one in real]
    codes = codes_of(device, folder, "real")
    seconds = sum(SECONDS.values())
    rate = outcome.rate
    assert rate.message_bps == pytest.approx(8 * sum(map(len, real)) / seconds)
    assert rate.payload_bps == pytest.approx(8 * sum(payloads) / seconds)
    ideal = sum(device.prior.bits(one) for one in codes)
    assert rate.cross_entropy_bps == pytest.approx(ideal / seconds)
    frames = sum(map(len, codes))
    assert rate.nominal_bps == pytest.approx(frames * 8 / seconds)
    # The coder loses less than two bytes a message to its rounding.
    assert abs(8 * sum(payloads) - ideal) < 16 * len(real)
    assert rate.message_bps > rate.payload_bps


def test_codebook_use_counts_the_real_codes(outcome, device, folder):
    codes = np.concatenate(codes_of(device, folder, "real"))
    assert [use.entries for use in outcome.codebook_use] == [16, 16]
    for use, column in zip(outcome.codebook_use, codes.T, strict=True):
        used = len(np.unique(column))
        assert use.used_percent == pytest.approx(100 * used / 16)
        assert 1 <= use.perplexity <= used + 1e-6


def test_earlier_messages_are_replaced_and_other_files_stay(outcome, folder):
    assert not (folder / "messages" / "real" / "old.acom").exists()
    assert (folder / "notes.txt").exists()


def test_nothing_readable_is_an_error(device, recogniser, items, tmp_path):
    bad = [item for item in items if item.name == "bad"]
    with pytest.raises(DataError, match="no readable file of 1"):
        run_coded_test(device, recogniser.folder, bad, tmp_path)


def test_failure_of_the_second_process_is_told(
    device, recogniser, items, tmp_path, monkeypatch
):
    def nothing_copied(source, half, folder):
        folder.mkdir(parents=True)
        return folder

    monkeypatch.setattr(coded_test, "copy_half", nothing_copied)
    with pytest.raises(DataError) as caught:
        run_coded_test(device, recogniser.folder, items, tmp_path)
    assert str(caught.value) == (
        "second process: found exit status 1, expected 0: its error stands "
        "above"
    )
