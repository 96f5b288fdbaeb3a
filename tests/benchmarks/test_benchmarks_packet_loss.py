"""The benchmark of lost packets and flipped bits."""

import numpy as np
import packet_loss
import pytest
from code_sets import CodeSet
from run_folders import run_folder

from speechbrain_acom.entropy.framing import ONE_TO_ONE
from speechbrain_acom.studies.results import read_rows


def made(*lengths):
    codes = [np.zeros((length, 1), dtype=np.int64) for length in lengths]
    sizes, names = np.array(lengths), ["" for _ in lengths]
    return CodeSet(
        "made", codes, (2,), sizes / 25, sizes, ONE_TO_ONE, names, names
    )


def test_packets_are_lost_whole():
    test = made(*([23] * 200))
    lost = packet_loss.lost_frames(test, 10, 20, seed=0)
    for mask in lost:
        assert mask.shape == (23,) and mask.dtype == bool
        for packet in (mask[:10], mask[10:20], mask[20:]):
            assert packet.all() or not packet.any()
    assert np.concatenate(lost).mean() == pytest.approx(0.2, abs=0.04)


def test_a_larger_loss_takes_more_of_the_same():
    test = made(50, 60)
    masks = [
        np.concatenate(packet_loss.lost_frames(test, 1, percent, seed=1))
        for percent in packet_loss.LOSSES_PERCENT
    ]
    assert not masks[0].any()
    for smaller, larger in zip(masks, masks[1:], strict=False):
        assert not (smaller & ~larger).any()
    other = np.concatenate(packet_loss.lost_frames(test, 1, 20, seed=2))
    assert (other != masks[-1]).any()


def test_bits_flip_with_their_probability():
    message = bytes(range(256)) * 20
    generator = np.random.default_rng(0)
    assert packet_loss.flipped(message, 0.0, generator) == message
    inverted = packet_loss.flipped(message, 1.0, generator)
    assert inverted == bytes(byte ^ 255 for byte in message)
    arrived = packet_loss.flipped(message, 0.01, generator)
    changed = np.frombuffer(message, np.uint8) ^ np.frombuffer(
        arrived, np.uint8
    )
    assert np.unpackbits(changed).mean() == pytest.approx(0.01, abs=0.002)


def tried(folder, exported):
    """Rows of an untrained model, and the vectors beside them."""
    run = run_folder(folder, exported, train=3, dev=2, test=2)
    output = folder / "results" / "packet_loss.json"
    command = ["--runs", f"made={run}", "--output", str(output)]
    command += ["--packet_frames", "3", "--seeds", "4", "1"]
    packet_loss.main([*command, "--mask_steps", "2"])
    vectors = [
        np.load(output.with_name(f"packet_loss_made_{name}.npy"))
        for name in ("mean_vector", "learned_vector_seed_4")
    ]
    return read_rows(output), *vectors


@pytest.fixture(scope="module")
def rows(recogniser, tmp_path_factory):
    rows, mean, learned = tried(tmp_path_factory.mktemp("lossy"), recogniser)
    check_vectors(rows, mean, learned, channels=32)
    return rows


def check_vectors(rows, mean, learned, channels):
    assert mean.shape == learned.shape == (channels,)
    assert np.isfinite(mean).all() and np.isfinite(learned).all()
    assert {row["learned_vector_seed"] for row in rows} == {4}
    # After how many steps depends on two clips of noise.
    (steps,) = {row["learned_vector_steps"] for row in rows}
    assert steps in (0, 2)
    assert np.array_equal(mean, learned) == (steps == 0)
    for row in rows:
        loss = row["learned_vector_valid_loss"]
        assert 0 < loss <= row["mean_vector_valid_loss"]


def test_a_classifier_is_tried_with_its_own_cost(classifier, tmp_path):
    rows, mean, learned = tried(tmp_path, classifier)
    check_vectors(rows, mean, learned, channels=len(mean))
    assert all(0 <= row["accuracy_percent"] <= 100 for row in rows)
    assert {row["concealment"] for row in rows} == {
        "none",
        "repeat",
        "mean_vector",
        "learned_vector",
    }


def test_there_is_a_row_a_loss_and_concealment(rows):
    packets = [row for row in rows if row["impairment"] == "packets"]
    found = [(row["loss_percent"], row["concealment"]) for row in packets]
    names = ["none", "repeat", "mean_vector", "learned_vector"]
    lossy = packet_loss.LOSSES_PERCENT[1:]
    assert found == [
        (0, "none"),
        *((percent, name) for percent in lossy for name in names),
    ]
    assert packets[0]["lost_frames_percent"] == 0
    assert {row["seeds"] for row in packets[1:]} == {2}
    assert all(row["payload_bps"] > 0 for row in packets)
    for row in packets:
        least, most = row["least_wer_percent"], row["most_wer_percent"]
        assert least <= row["wer_percent"] <= most


def test_a_refused_message_has_no_answer(rows):
    flips = [row for row in rows if row["impairment"] == "bit_errors"]
    assert [row["bit_error_probability"] for row in flips] == [
        1e-4,
        1e-3,
        1e-2,
    ]
    for row in flips:
        assert row["refused_percent"] <= row["damaged_percent"] <= 100
    worst = flips[-1]
    assert worst["refused_percent"] > 0
    if worst["refused_percent"] == 100:
        assert worst["wer_percent"] == 100
