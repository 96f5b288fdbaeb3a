"""The benchmark of lost packets and flipped bits."""

import numpy as np
import packet_loss
import pytest
from bit_errors import BIT_ERRORS
from run_folders import run_folder

from speechbrain_acom.studies.results import read_rows


def test_a_larger_loss_takes_more_of_the_same():
    counts = [50, 60, 0]
    masks = [
        np.concatenate(packet_loss.lost_packets(counts, 1, percent, seed=1))
        for percent in packet_loss.LOSSES_PERCENT
    ]
    assert not masks[0].any()
    for smaller, larger in zip(masks, masks[1:], strict=False):
        assert not (smaller & ~larger).any()
    other = np.concatenate(packet_loss.lost_packets(counts, 1, 20, seed=2))
    assert (other != masks[-1]).any()


def test_as_many_are_lost_as_were_to_be():
    lost = packet_loss.lost_packets([23] * 100, 10, 20, seed=0)
    assert {mask.shape for mask in lost} == {(23,)}
    assert np.concatenate(lost).mean() == pytest.approx(0.2, abs=0.03)


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


def test_what_packets_cost_is_more_than_what_they_hold(rows):
    packets = [row for row in rows if row["impairment"] == "packets"]
    # 0.5 s of noise, 13 frames, 7 codes, 3 packets: as many numbers, an end.
    (payload,) = {row["payload_bps"] for row in packets}
    (size,) = {row["message_bps"] for row in packets}
    assert size == pytest.approx(payload + 8 * (3 + 1) / 0.5, rel=1e-4)


def flips(rows, **wanted):
    return [
        row
        for row in rows
        if row["impairment"] == "bit_errors"
        and all(row[key] == value for key, value in wanted.items())
    ]


def test_bits_flip_in_messages_and_packets_with_and_without_checksum(rows):
    vectors = ["mean_vector", "learned_vector"]
    for packet_frames, names in (
        (None, ["none", *vectors]),
        (3, ["none", "repeat", *vectors]),
    ):
        for checksum in ("yes", "no"):
            found = flips(rows, packet_frames=packet_frames, checksum=checksum)
            assert [
                (row["bit_error_probability"], row["concealment"])
                for row in found
            ] == [(each, name) for each in BIT_ERRORS for name in names]
    for key in ("payload_bps", "message_bps"):
        checked, unchecked = (
            flips(rows, packet_frames=3, checksum=checksum)[0][key]
            for checksum in ("yes", "no")
        )
        # A byte for each of three packets.
        extra = 8 * 3 / 0.5 if key == "message_bps" else 0
        assert checked == pytest.approx(unchecked + extra, rel=1e-4)


def test_a_refused_message_has_no_answer_or_that_to_a_vector(rows):
    for row in flips(rows, checksum="yes"):
        assert row["refused_percent"] <= row["damaged_percent"] <= 100
    worst = flips(
        rows,
        packet_frames=None,
        checksum="yes",
        bit_error_probability=BIT_ERRORS[-1],
    )
    assert {row["refused_percent"] for row in worst} != {0}
    if worst[0]["refused_percent"] == 100:
        assert worst[0]["wer_percent"] == 100
    (mine, unchecked) = (
        flips(rows, packet_frames=3, checksum=checksum)[-1]["refused_percent"]
        for checksum in ("yes", "no")
    )
    # Nearly every string of bytes is the message of some frames.
    assert mine > 0 and unchecked < 100
