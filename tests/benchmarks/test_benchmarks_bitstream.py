"""The benchmarks of messages run and say what they promise."""

import fuzz_bitstream
import fuzz_forms
import fuzz_priors
import numpy as np
import pytest
import session_endings
from fuzz_bitstream import Outcomes
from fuzz_forms import Form
from fuzz_mangling import Mangled, mangled
from hypothesis import given, settings
from hypothesis import strategies as st
from tqdm import tqdm

from speechbrain_acom.errors import BitstreamError
from speechbrain_acom.studies.results import read_rows

# How many times what a message may take: others use these machines, too.
SLACK = 20
QUICK = ["static", "peaked_static"]


@pytest.fixture(scope="module")
def targets():
    return [
        (kind, form)
        for kind in map(fuzz_priors.kind, fuzz_priors.NAMES)
        for form in fuzz_forms.forms(kind.prior)
    ]


def form_of(name, prior="static") -> Form:
    found = fuzz_forms.forms(fuzz_priors.kind(prior).prior)
    return next(form for form in found if form.name == name)


def messages_of(form, count, prior="static", frames=40) -> list[bytes]:
    random = np.random.default_rng(3)
    draw = fuzz_priors.kind(prior).draw
    return [form.write(draw(random, frames)) for _ in range(count)]


def test_no_message_crashes_a_reader(tmp_path, capsys):
    path = tmp_path / "fuzz.json"
    fuzz_bitstream.main(
        ["--messages", "400", "--output", str(path), "--priors", *QUICK]
    )
    rows = read_rows(path)
    names = [form.name for form in fuzz_forms.forms(fuzz_priors.peaked_prior())]
    assert [(row["prior"], row["form"]) for row in rows] == [
        *((prior, form) for prior in QUICK for form in names),
        *(("all", form) for form in names),
        *((prior, "all") for prior in QUICK),
    ]
    for row in rows:
        assert row["messages"] == row["accepted"] + row["refused"] >= 10
        assert row["crashes"] == row["over_memory"] == 0
        assert row["slowest_share"] < SLACK
        if row["missed_percent"] is not None:
            assert row["missed_percent"] <= row["missed_bound_percent"]
    whole = [row for row in rows if row["form"] == "all"]
    for row in whole:
        assert (
            row["messages"]
            == sum(
                one["messages"] for one in rows if one["prior"] == row["prior"]
            )
            - row["messages"]
        )
    assert "Error" not in capsys.readouterr().err


def test_writers_and_readers_of_the_fuzzer_fit(targets):
    random = np.random.default_rng(1)
    assert len(targets) == 20 * len(fuzz_priors.NAMES)
    for kind, form in targets:
        for length in (0, 10):
            codes = kind.draw(random, length)
            framing = fuzz_forms.ONE_TO_ONE
            if "groups" in form.name:
                framing = fuzz_forms.GROUPS
            if "runs" in form.name:
                framing = fuzz_forms.RUNS
            kept, _ = fuzz_forms.framed(codes, framing)
            expected = 0 if form.name == "handshake" else len(kept)
            message = form.write(codes)
            assert form.read(message) == expected
            assert form.seal is None or form.seal(message) == message


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_readers_answer_or_refuse(targets, data):
    kind, form = data.draw(st.sampled_from(targets))
    random = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    sources = [form.write(kind.draw(random, length)) for length in (0, 5, 40)]
    message = mangled(random, sources, form)
    try:
        assert form.read(message.content) >= 0
        assert not message.of_others
    except BitstreamError as error:
        assert "\n" not in str(error)
        assert 0 <= error.offset <= len(message.content)
        assert not message.sealed or "found checksum" not in str(error)


@pytest.mark.parametrize("prior", fuzz_priors.NAMES)
def test_a_frame_takes_what_the_document_says(prior):
    kind, outcomes = fuzz_priors.kind(prior), Outcomes()
    frame_us = kind.code_us * len(kind.prior.cardinalities)
    for name in ("file", "version 1", "session", "stream"):
        form = form_of(name, prior)
        [message] = messages_of(form, 1, prior, frames=100)
        assert outcomes.read(form, Mangled(message), frame_us) == 100
    assert 0 < outcomes.slowest_share < SLACK
    assert 0 < outcomes.slowest_frame_us < SLACK * frame_us


@pytest.mark.parametrize(
    "name", ["file, checksum", "version 2", "session, checksum"]
)
def test_a_checksum_misses_no_more_than_one_in_256(name):
    form, kind = form_of(name), fuzz_priors.kind("static")
    with tqdm(disable=True) as progress:
        row = fuzz_bitstream.fuzzed(form, kind, 800, 5, progress).row()
    # Of 300 and more one is expected, and nine once in a million times.
    assert 1.5 < row["missed_bound_percent"] < 4
    assert row["missed_percent"] <= row["missed_bound_percent"]
    assert row["crashes"] == 0


@pytest.mark.parametrize(
    "name",
    ["file", "file, checksum", "first k, checksum", "scalable, checksum"]
    + ["version 1", "version 2", "stream", "handshake"],
)
def test_another_model_is_refused_by_name_whatever_the_checksum(name):
    form = form_of(name)
    sources, random = messages_of(form, 3), np.random.default_rng(0)
    seen = 0
    while seen < 20:
        message = mangled(random, sources, form)
        if message.of_others:
            seen += 1
            with pytest.raises(BitstreamError, match="of model ") as caught:
                form.read(message.content)
            assert caught.value.offset == 1


def test_what_goes_wrong_is_counted():
    def crash(message):
        raise IndexError

    outcomes = Outcomes()
    form = Form("broken", 0, bytes, crash)
    assert outcomes.read(form, Mangled(b""), 0.0) is None
    assert (outcomes.crashes, outcomes.hangs) == (1, 0)
    slow = Form("slow", 0, bytes, lambda _: sum(range(2**21)) * 0)
    outcomes.read(slow, Mangled(b""), 0.0)
    assert (outcomes.crashes, outcomes.hangs) == (1, 1)
    assert outcomes.slowest_share > 1
    outcomes.read(slow, Mangled(b"", of_others=True), 0.0)
    assert outcomes.crashes == 2
    # A frame that was read may take its time.
    outcomes = Outcomes()
    outcomes.read(Form("slow", 0, bytes, lambda _: 30), Mangled(b""), 1e6)
    assert outcomes.hangs == 0 < outcomes.slowest_frame_us
    # Slow once is the machine, not the reader.
    terms = iter([2**21, 0])
    once = Form("once", 0, bytes, lambda _: sum(range(next(terms))) * 0)
    outcomes = Outcomes()
    outcomes.read(once, Mangled(b""), 0.0)
    assert outcomes.hangs == 0 and next(terms, None) is None
    large = Form("large", 0, bytes, lambda _: len(bytes(2**21)) * 0)
    outcomes.watch_memory(large, b"")
    assert outcomes.over_memory == 1


def test_outcomes_of_several_readers_are_joined():
    parts = [
        Outcomes(accepted=2, refused=1, slowest_ms=3.0, checked=300),
        Outcomes(accepted=5, slowest_ms=1.0, checked=100, checked_missed=4),
    ]
    row = fuzz_bitstream.joined(parts).row()
    assert (row["messages"], row["accepted"], row["slowest_ms"]) == (8, 7, 3.0)
    assert row["missed_percent"] == 1.0
    assert row["unchecked_missed_percent"] is None


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
