"""The benchmarks of messages run and say what they promise."""

import fuzz_bitstream
import numpy as np
import pytest
import session_endings
from hypothesis import given, settings
from hypothesis import strategies as st

from speechbrain_acom.errors import BitstreamError
from speechbrain_acom.studies.results import read_rows


@pytest.fixture(scope="module")
def targets():
    return [
        (name, form)
        for name, prior in fuzz_bitstream.priors().items()
        for form in fuzz_bitstream.forms(prior)
    ]


def test_no_message_crashes_a_reader(targets, tmp_path, capsys):
    path = tmp_path / "fuzz.json"
    count = 20 * len(targets)
    fuzz_bitstream.main(["--messages", str(count), "--output", str(path)])
    rows = read_rows(path)
    assert [(row["prior"], row["form"]) for row in rows] == [
        (name, form.name) for name, form in targets
    ]
    for row in rows:
        assert row["messages"] == row["accepted"] + row["refused"] == 20
        assert row["crashes"] == row["over_memory"] == 0
    assert "Error" not in capsys.readouterr().err


def test_writers_and_readers_of_the_fuzzer_fit(targets):
    random = np.random.default_rng(1)
    for _, form in targets:
        codes = fuzz_bitstream.codes_like_speech(random, 30)
        assert form.read(form.write(codes)) == 30


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_readers_answer_or_refuse(targets, data):
    _, form = data.draw(st.sampled_from(targets))
    random = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    sources = [
        form.write(fuzz_bitstream.codes_like_speech(random, length))
        for length in (0, 5, 40)
    ]
    message, _ = fuzz_bitstream.mangled(random, sources, form)
    try:
        assert form.read(message) >= 0
    except BitstreamError as error:
        assert "\n" not in str(error)
        assert 0 <= error.offset <= len(message)


def test_a_crash_and_a_slow_message_are_counted():
    def crash(message):
        raise IndexError

    outcomes = fuzz_bitstream.Outcomes()
    form = fuzz_bitstream.Form("broken", 0, bytes, crash)
    assert outcomes.read(form, b"") is None
    assert (outcomes.crashes, outcomes.hangs) == (1, 0)
    slow = fuzz_bitstream.Form("slow", 0, bytes, lambda _: sum(range(2**23)))
    outcomes.read(slow, b"")
    assert (outcomes.crashes, outcomes.hangs) == (1, 1)
    large = fuzz_bitstream.Form(
        "large", 0, bytes, lambda _: len(bytes(2**21)) * 0
    )
    outcomes.watch_memory(large, b"")
    assert outcomes.over_memory == 1


def test_the_length_of_the_bytes_is_the_cheapest_ending(tmp_path):
    path = tmp_path / "endings.json"
    session_endings.main(["--utterances", "20", "--output", str(path)])
    rows = read_rows(path)
    assert len(rows) == len(session_endings.SHARES)
    for row in rows:
        others = ("end_symbol", "coded_length", "universal_length")
        assert all(
            row["byte_length_bytes"] <= row[f"{name}_bytes"] for name in others
        )
        assert row["ideal_bytes"] <= row["payload_bytes"] + 0.1
