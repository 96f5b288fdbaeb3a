"""Messages and packets that another process reads."""

import bit_errors
import message_worker
import numpy as np
import packets as packets_module
import pytest
import session_endings
from code_sets import CodeSet
from data_sets import DataSet
from message_worker import FILE, Job, check_read, ending_of, read_elsewhere
from packets import Packets, received, sent_packets

from speechbrain_acom.entropy.bitstream import MessageOptions, write_message
from speechbrain_acom.entropy.endings import (
    ByteLength,
    CodedLength,
    EndSymbol,
)
from speechbrain_acom.entropy.framing import ONE_TO_ONE, Framing
from speechbrain_acom.entropy.priors import ContextPrior
from speechbrain_acom.entropy.session import Session
from speechbrain_acom.errors import (
    BitstreamError,
    ConfigurationError,
    DataError,
)
from speechbrain_acom.studies.results import read_rows

SIZES = (6, 9)
MODEL = b"\xca\xfe"


def drawn(*lengths, seed=0):
    generator = np.random.default_rng(seed)
    return [
        generator.integers(0, SIZES, (2, length, 2)).min(axis=0)
        for length in lengths
    ]


def code_set(codes, num_frames, framing=ONE_TO_ONE):
    names = [str(number) for number in range(len(codes))]
    lengths = np.array(num_frames)
    return CodeSet(
        "made", codes, SIZES, lengths / 50, lengths, framing, names, names
    )


PRIOR = ContextPrior.fit(drawn(200), SIZES)
PAIRS = Framing(merge=2)
CODES, LENGTHS = drawn(23, 0, 7, 140, seed=1), [45, 0, 14, 280]


@pytest.fixture(scope="module")
def sessions():
    endings = [ByteLength(), EndSymbol(30), CodedLength.fit([20, 30])]
    return [
        Session(PRIOR, MODEL, PAIRS, ending, checksum=bool(number))
        for number, ending in enumerate(endings)
    ]


def test_another_process_reads_messages_of_every_form(sessions):
    pairs = list(zip(CODES, LENGTHS, strict=True))
    jobs = [Job(one, [one.write(*pair) for pair in pairs]) for one in sessions]
    files = [write_message(*pair, PRIOR, MODEL, PAIRS) for pair in pairs]
    short = write_message(
        CODES[0][:, :1], 45, PRIOR, MODEL, PAIRS, MessageOptions(False)
    )
    damaged = files[0][:-1] + bytes([files[0][-1] ^ 1])
    jobs.append(Job(sessions[0], [*files, short, damaged], FILE))
    *read, (*whole, first, refused) = read_elsewhere(jobs)
    for reads in (*read, whole):
        check_read(reads, CODES, LENGTHS)
    assert np.array_equal(first.codes, CODES[0][:, :1])
    assert (first.num_codebooks, first.sent_codebooks) == (1, 1)
    # Hash, form, length and checksum are five bytes.
    assert whole[0].payload_bytes == len(files[0]) - 5
    assert refused is None


def test_a_reader_that_agreed_on_something_else_is_no_result(
    sessions, monkeypatch
):
    monkeypatch.setattr(Session, "handshake", lambda self: b"\xaf" + bytes(6))
    with pytest.raises(DataError, match="exit status 1"):
        read_elsewhere([Job(sessions[0], [b""])])


def test_other_codes_or_lengths_are_no_result(sessions):
    message = sessions[1].read(sessions[1].write(CODES[0], 45))
    check_read([message], CODES[:1], [45])
    for reads, codes, length in (
        ([None], CODES[0], 45),
        ([message], CODES[0], 46),
        ([message], CODES[0][:-1], 45),
        ([message], (CODES[0] + 1) % 2, 45),
    ):
        with pytest.raises(DataError, match="message 0"):
            check_read(reads, [codes], [length])


def test_endings_come_back_from_what_is_agreed_on(sessions):
    for session in sessions:
        content = session.ending.content()
        found = ending_of(content)
        assert type(found) is type(session.ending)
        assert found.content() == content


@pytest.mark.parametrize("checksum", [False, True])
def test_packets_become_the_utterance_again(sessions, checksum):
    packets = Packets(sessions[0], 10, checksum)
    test = code_set(CODES, LENGTHS, PAIRS)
    sent = sent_packets(packets, test)
    assert list(map(len, sent)) == [3, 0, 1, 14]
    read = received(packets, sent)
    rates = packets_module.rates(packets, test, sent, read)
    payload = sum(m.payload_bytes for each in read for _, m in each)
    # A number, maybe a checksum; lengths of 45, 0, 14 and 280 frames.
    size = payload + 18 * (1 + checksum) + 1 + 1 + 1 + 2
    seconds = sum(LENGTHS) / 50
    assert rates["payload_bps"] == pytest.approx(8 * payload / seconds)
    assert rates["message_bps"] == pytest.approx(8 * size / seconds)
    # Every packet can be read without those before it.
    codes, lost = packets.assembled([read[3][13], read[3][4]], 280)
    kept = [*range(40, 50), *range(130, 140)]
    assert np.flatnonzero(~lost).tolist() == kept
    assert np.array_equal(codes[kept], CODES[3][kept])
    assert not codes[lost].any()
    with pytest.raises(DataError, match="other codes"):
        packets_module.rates(packets, test, sent, [*read[:3], read[3][1:]])


def test_a_packet_beyond_the_127th_has_a_longer_number(sessions):
    packets = Packets(sessions[0], 1)
    sent = packets.write(CODES[3], 280)
    assert packets.opened(sent[127])[1] == sent[127][1:]
    assert packets.opened(sent[128]) == (128, sent[128][2:])


def test_packets_that_cannot_be_are_refused(sessions):
    packets = Packets(sessions[0], 10)
    ((first, second, last),) = received(packets, [packets.write(CODES[0], 45)])
    for wrong in (
        (0, None),
        (0, last[1]),
        (2, first[1]),
        (3, last[1]),
        (65536, last[1]),
    ):
        _, lost = packets.assembled([wrong], 45)
        assert lost.all()
    codes, lost = packets.assembled([first, (0, second[1])], 45)
    assert np.array_equal(codes[:10], CODES[0][:10])
    assert lost.tolist() == [False] * 10 + [True] * 13


def test_a_checksum_covers_the_number_of_a_packet(sessions):
    packets = Packets(sessions[0], 10, checksum=True)
    (packet,) = packets.write(CODES[2], 14)
    assert packets.opened(packet)[0] == 0
    with pytest.raises(BitstreamError, match="checksum"):
        packets.opened(b"\1" + packet[1:])
    assert received(packets, [[b"\1" + packet[1:], b""]]) == [[]]


def test_runs_do_not_go_into_packets():
    runs = Session(PRIOR, MODEL, Framing(run_lengths=True))
    with pytest.raises(ConfigurationError, match="merge_mode"):
        Packets(runs, 10)


def test_bits_flip_with_their_probability():
    message = bytes(range(256)) * 20
    generator = np.random.default_rng(0)
    assert bit_errors.flipped(message, 0.0, generator) == message
    inverted = bit_errors.flipped(message, 1.0, generator)
    assert inverted == bytes(byte ^ 255 for byte in message)
    arrived = bit_errors.flipped(message, 0.01, generator)
    changed = np.frombuffer(message, np.uint8) ^ np.frombuffer(
        arrived, np.uint8
    )
    assert np.unpackbits(changed).mean() == pytest.approx(0.01, abs=0.002)
    trials = [[message, arrived], [arrived, arrived]]
    assert bit_errors.changed_percent([message] * 2, trials) == 75


def test_real_codes_get_a_row_a_prior_and_test_set(tmp_path):
    files = []
    for seed, name in enumerate(("train", "test", "other")):
        files.append(str(tmp_path / f"{name}.npz"))
        lengths = [20 + seed, 40]
        code_set(drawn(*lengths, seed=seed), lengths).save(files[-1])
    output = tmp_path / "endings.json"
    command = ["--utterances", "0", "--output", str(output)]
    session_endings.main([*command, "--codes", f"mine={','.join(files)}"])
    rows = read_rows(output)
    assert [(row["prior"], row["split"]) for row in rows] == [
        ("static", "test"),
        ("static", "other"),
        ("context", "test"),
        ("context", "other"),
    ]
    for row in rows:
        assert row["data_set"] == "mine" and row["messages"] == 2
        assert row["num_codebooks"] == 2
        assert row["ideal_bytes"] <= row["payload_bytes"] + 0.1
        assert row["payload_bytes"] <= row["universal_length_bytes"]
        rate = row["byte_length_bps"] / row["payload_bps"]
        assert rate == pytest.approx(
            row["byte_length_bytes"] / row["payload_bytes"], rel=1e-3
        )


def test_the_prior_of_the_model_is_the_last_one():
    codes = code_set(drawn(20, 40), [20, 40])
    for shipped, names in ((None, ["static"]), (PRIOR, ["static", "shipped"])):
        data = DataSet("mine", codes, [codes], shipped)
        found = list(session_endings.priors_of(data, ["static"]))
        assert [name for name, _ in found] == names
        assert shipped is None or found[-1][1] is shipped


def test_a_message_that_is_read_otherwise_is_no_result(monkeypatch):
    def shorter(jobs):
        reads = message_worker.read_elsewhere(jobs)
        reads[2][0] = reads[2][1]
        return reads

    monkeypatch.setattr(session_endings, "read_elsewhere", shorter)
    codes = drawn(20, 30, seed=3)
    with pytest.raises(DataError, match="other codes"):
        session_endings.measured(
            PRIOR, np.array([20, 30]), code_set(codes, [20, 30])
        )
