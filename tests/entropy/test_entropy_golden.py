"""Messages of the past: golden files of every version and form.

The files in tests/entropy/golden are what earlier releases wrote, and what
version 3 writes. A change that cannot read them, or that writes other bytes,
needs a new version: then add files. Those of version 3 were written, and the
example in docs/bitstream.md was made, with

    ACOM_REGENERATE_GOLDEN=1 pytest tests/entropy/test_entropy_golden.py
"""

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from message_helpers import MODEL, PAIRS, RUNS
from toy_prior import ToyPrior

from speechbrain_acom.entropy.bitstream import (
    MessageOptions,
    read_message,
    write_message,
)
from speechbrain_acom.entropy.endings import CodedLength, EndSymbol
from speechbrain_acom.entropy.framing import ONE_TO_ONE, Framing
from speechbrain_acom.entropy.priors import (
    StaticPrior,
    load_prior,
    prior_digest,
)
from speechbrain_acom.entropy.session import Session
from speechbrain_acom.entropy.streaming import StreamDecoder, StreamEncoder

GOLDEN = Path(__file__).parent / "golden"
DOCUMENT = Path(__file__).parents[2] / "docs" / "bitstream.md"
PRIOR = load_prior(GOLDEN / "golden.prior")
TOY = ToyPrior((8, 5, 1), 1 << 22)


def golden_codes(num_frames: int, framing: Framing) -> np.ndarray:
    """Codes made by arithmetic, so that no random generator matters."""
    count = framing.most_code_frames(num_frames)
    step = np.arange(3 * count).reshape(count, 3)
    codes = (step * step % 101 * [1, 3, 0] // 7) % [8, 5, 1]
    return framing.trimmed(codes, num_frames)


# Versions 1 and 2: name, frames, framing and columns that were sent.
OLD_CASES = [
    ("empty", 0, ONE_TO_ONE, 3),
    ("short", 12, ONE_TO_ONE, 3),
    ("merged", 301, PAIRS, 3),
    ("runs", 301, RUNS, 3),
    ("first", 140, ONE_TO_ONE, 1),
    ("first_runs", 140, RUNS, 2),
]


@pytest.mark.parametrize(("name", "num_frames", "framing", "sent"), OLD_CASES)
def test_messages_of_versions_1_and_2_still_decode(
    name, num_frames, framing, sent
):
    message = (GOLDEN / f"{name}.acom").read_bytes()
    expected = golden_codes(num_frames, framing)[:, :sent]
    result = read_message(message, PRIOR, MODEL, framing)
    assert np.array_equal(result.codes, expected)
    assert result.num_frames == num_frames


# Version 3: name, prior, frames, framing, columns that are sent, options.
UNCHECKED = MessageOptions(checksum=False)
SCALABLE = MessageOptions(checksum=False, scalable=True)
FILE_CASES = {
    "file": (PRIOR, 12, ONE_TO_ONE, 3, MessageOptions()),
    "file_unchecked": (PRIOR, 12, ONE_TO_ONE, 3, UNCHECKED),
    "file_empty": (PRIOR, 0, ONE_TO_ONE, 3, MessageOptions()),
    "file_merged": (PRIOR, 301, PAIRS, 3, MessageOptions()),
    "file_runs": (PRIOR, 140, RUNS, 3, MessageOptions()),
    "file_first": (PRIOR, 140, ONE_TO_ONE, 1, UNCHECKED),
    "file_context": (TOY, 140, ONE_TO_ONE, 3, MessageOptions()),
    "scalable": (PRIOR, 12, ONE_TO_ONE, 3, SCALABLE),
    "scalable_checked": (TOY, 30, RUNS, 2, MessageOptions(scalable=True)),
}
SESSIONS = {
    "session": Session(PRIOR, MODEL),
    "session_context": Session(TOY, MODEL, PAIRS, checksum=True),
    "session_symbol": Session(PRIOR, MODEL, RUNS, EndSymbol(50)),
    "session_length": Session(PRIOR, MODEL, ending=CodedLength()),
}
SESSION_FRAMES = 61


def golden_bytes(name: str) -> bytes:
    return (GOLDEN / f"version_3_{name}.acom").read_bytes()


def written_file(name: str) -> bytes:
    prior, num_frames, framing, sent, options = FILE_CASES[name]
    codes = golden_codes(num_frames, framing)[:, :sent]
    return write_message(codes, num_frames, prior, MODEL, framing, options)


def written_session(name: str) -> bytes:
    session = SESSIONS[name]
    codes = golden_codes(SESSION_FRAMES, session.framing)
    return session.handshake() + session.write(codes, SESSION_FRAMES)


def written_stream() -> bytes:
    """Ten pushes of three frames, a flush after the fourth and the last."""
    encoder = StreamEncoder(TOY, MODEL, flush_bits=5)
    chunks = []
    for number, codes in enumerate(np.split(golden_codes(30, ONE_TO_ONE), 10)):
        chunks.append(encoder.push(codes))
        if number in (3, 9):
            chunks.append(encoder.flush())
    return b"".join(chunks)


def regenerate_golden() -> None:
    messages = {name: written_file(name) for name in FILE_CASES}
    messages |= {name: written_session(name) for name in SESSIONS}
    messages["stream"] = written_stream()
    for name, message in messages.items():
        (GOLDEN / f"version_3_{name}.acom").write_bytes(message)


if os.environ.get("ACOM_REGENERATE_GOLDEN"):
    regenerate_golden()


@pytest.mark.parametrize("name", FILE_CASES)
def test_files_of_version_3(name):
    prior, num_frames, framing, sent, _ = FILE_CASES[name]
    assert written_file(name) == golden_bytes(name)
    result = read_message(golden_bytes(name), prior, MODEL, framing)
    expected = golden_codes(num_frames, framing)[:, :sent]
    assert np.array_equal(result.codes, expected)
    assert result.num_frames == num_frames


@pytest.mark.parametrize("name", SESSIONS)
def test_sessions_of_version_3(name):
    session, stored = SESSIONS[name], golden_bytes(name)
    assert written_session(name) == stored
    session.check(stored[:7])
    result = session.read(stored[7:])
    expected = golden_codes(SESSION_FRAMES, session.framing)
    assert np.array_equal(result.codes, expected)
    assert result.num_frames == SESSION_FRAMES


def test_streams_of_version_3():
    assert written_stream() == golden_bytes("stream")
    decoded = StreamDecoder(TOY, MODEL).push(golden_bytes("stream"))
    assert np.array_equal(decoded, golden_codes(30, ONE_TO_ONE))


@pytest.mark.parametrize(
    "case",
    json.loads((GOLDEN / "codes.json").read_text()),
    ids=lambda case: case["name"],
)
def test_golden_codes_are_made_as_before(case):
    [(_, num_frames, framing, _)] = [
        golden for golden in OLD_CASES if golden[0] == case["name"]
    ]
    assert num_frames == case["num_frames"]
    assert golden_codes(num_frames, framing).tolist() == case["codes"]


def test_golden_prior_is_fitted_as_before():
    cases = json.loads((GOLDEN / "codes.json").read_text())
    codes = {case["name"]: np.array(case["codes"]) for case in cases}
    prior = StaticPrior.fit([codes["merged"]], (8, 5, 1))
    assert prior_digest(prior) == prior_digest(PRIOR)


def test_document_shows_the_golden_message():
    # A hex dump: offset, then bytes, then the meaning.
    dump = re.findall(
        r"^([0-9]+)  +((?:[0-9a-f]{2} )*[0-9a-f]{2})(?:  .*)?$",
        DOCUMENT.read_text(),
        re.MULTILINE,
    )
    shown = bytes.fromhex("".join(row for _, row in dump))
    assert shown == golden_bytes("file")
    offsets = [int(offset) for offset, _ in dump]
    lengths = [len(bytes.fromhex(row)) for _, row in dump]
    assert offsets == [sum(lengths[:i]) for i in range(len(lengths))]


@pytest.mark.parametrize("name", ["scalable", "session", "stream"])
def test_document_shows_other_golden_bytes(name):
    stored = golden_bytes(name)[7 if name == "session" else 0 :]
    assert f"`{stored[:12].hex(' ')}" in DOCUMENT.read_text()
