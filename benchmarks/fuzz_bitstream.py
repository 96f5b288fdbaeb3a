"""What readers make of messages that are damaged, cut, forged or random.

``python benchmarks/fuzz_bitstream.py`` gives a million of them to the readers
of every form of message, over a static and a context prior, and writes a row
a form and prior to ``results/fuzz_bitstream.json``. See
``docs/bitstream.md``.
"""

import argparse
import resource
import signal
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from speechbrain_acom.entropy.bitstream import (
    MessageOptions,
    read_message,
    write_message,
)
from speechbrain_acom.entropy.container import (
    CRC_END,
    OLD_CRC_END,
    crc8,
    varint,
)
from speechbrain_acom.entropy.endings import CodedLength, EndSymbol
from speechbrain_acom.entropy.interval import RangeEncoder
from speechbrain_acom.entropy.priors import ContextPrior, Prior, StaticPrior
from speechbrain_acom.entropy.session import Session
from speechbrain_acom.entropy.streaming import StreamDecoder, StreamEncoder
from speechbrain_acom.entropy.symbols import code_edges
from speechbrain_acom.errors import BitstreamError
from speechbrain_acom.studies.results import Row, write_results

SEED = 0
MODEL = b"\xca\xfe"
CARDINALITIES = (64, 16)
MOST_FRAMES = 100
SOURCES = 64
SLOW_SECONDS = 0.010
# What is not done by then will never be.
HANG_SECONDS = 2.0
FIXED_BYTES, FRAME_BYTES = 1 << 20, 64
# Every so many messages the memory is looked at, which takes longer.
MEMORY_STEP = 50


class Hang(Exception):
    """A reader has not come to an end."""


@dataclass(frozen=True)
class Form:
    """A kind of message, its writer and its reader.

    Arguments
    ---------
    name : str
        Of the form.
    start : int
        Bytes before the number of frames, which forgeries keep.
    write : Callable[[np.ndarray], bytes]
        A message of codes.
    read : Callable[[bytes], int]
        Frames of codes of a message.
    crc_end : int | None
        How the checksum ends that the last byte is; None, if it is none.
    """

    name: str
    start: int
    write: Callable[[np.ndarray], bytes]
    read: Callable[[bytes], int]
    crc_end: int | None = None


def priors() -> dict[str, Prior]:
    """A prior that constriction codes in one call, and one it cannot."""
    random = np.random.default_rng(SEED)
    codes = [codes_like_speech(random, 200) for _ in range(20)]
    return {
        "static": StaticPrior.fit(codes, CARDINALITIES),
        "context": ContextPrior.fit(codes, CARDINALITIES),
    }


def codes_like_speech(
    random: np.random.Generator, num_frames: int
) -> np.ndarray:
    """Codes that stay for a while, some of them often, (frame, K)."""
    drawn = random.geometric((0.08, 0.2), (num_frames, 2)) - 1
    drawn %= CARDINALITIES
    stay = random.random((num_frames, 1)) < 0.4
    stay[:1] = False
    last = np.maximum.accumulate(
        np.where(stay, 0, np.arange(len(stay))[:, None])
    )
    return drawn[last[:, 0]]


def forms(prior: Prior) -> Iterator[Form]:
    """Every form of message over a prior."""
    options = {
        "file, checksum": MessageOptions(),
        "file": MessageOptions(checksum=False),
        "scalable, checksum": MessageOptions(scalable=True),
        "scalable": MessageOptions(checksum=False, scalable=True),
    }

    def read(message: bytes) -> int:
        return len(read_message(message, prior, MODEL).codes)

    for name, chosen in options.items():

        def write(codes: np.ndarray, chosen: MessageOptions = chosen) -> bytes:
            return write_message(
                codes, len(codes), prior, MODEL, options=chosen
            )

        last = chosen.checksum and not chosen.scalable
        yield Form(name, 3, write, read, CRC_END if last else None)
    yield Form(
        "file of version 1",
        3,
        lambda codes: old_message(codes, prior),
        read,
        OLD_CRC_END,
    )
    sessions = {
        "session": Session(prior, MODEL),
        "session, checksum": Session(prior, MODEL, checksum=True),
        "session, end symbol": Session(prior, MODEL, ending=EndSymbol(50)),
        "session, coded length": Session(prior, MODEL, ending=CodedLength()),
    }
    for name, session in sessions.items():
        yield Form(
            name,
            0,
            lambda codes, session=session: session.write(codes, len(codes)),
            lambda message, session=session: len(session.read(message).codes),
            CRC_END if session.checksum else None,
        )
    yield Form(
        "stream",
        4,
        lambda codes: stream_of(codes, prior),
        lambda message: len(StreamDecoder(prior, MODEL).push(message)),
    )


def old_message(codes: np.ndarray, prior: Prior) -> bytes:
    """A message of version 1: frame by frame, no zeros at its end."""
    encoder = RangeEncoder()
    for left, right in code_edges(codes, prior).reshape(-1, 2).tolist():
        encoder.encode(left, right)
    payload = encoder.finish().rstrip(b"\0")
    body = b"\xa1" + MODEL + varint(len(codes)) + payload
    return body + bytes([crc8(body, OLD_CRC_END)])


def stream_of(codes: np.ndarray, prior: Prior) -> bytes:
    """Packets of 25 frames, the last of them flushed."""
    encoder = StreamEncoder(prior, MODEL)
    packets = [
        encoder.push(codes[n : n + 25]) for n in range(0, len(codes), 25)
    ]
    return b"".join(packets) + encoder.flush()


def mangled(
    random: np.random.Generator, sources: Sequence[bytes], form: Form
) -> tuple[bytes, bool]:
    """A message that no writer meant.

    Arguments
    ---------
    random : np.random.Generator
        Source of chance.
    sources : Sequence[bytes]
        Real messages.
    form : Form
        What they are.

    Returns
    -------
    tuple[bytes, bool]
        The message, and whether it got a right checksum, as forgers do.
    """
    first, second = (sources[i] for i in random.integers(len(sources), size=2))
    at, other = (int(random.integers(len(m) + 1)) for m in (first, second))
    start = first[: form.start]
    noise = random.bytes(int(random.integers(0, 120)))
    message = [
        lambda: flipped(random, first),
        lambda: flipped(random, first),
        lambda: first[:at],
        lambda: first[:at] + second[other:],
        lambda: first + noise[: int(random.integers(1, 12))],
        lambda: first + bytes(int(random.integers(1, 12))),
        lambda: noise,
        lambda: start + noise,
        # The largest numbers of frames there are.
        lambda: start + b"\xff\xff\x03" + noise,
        lambda: start + b"\x80\x80\x04" + first[form.start + 1 :],
    ][random.integers(10)]()
    if form.crc_end is not None and message and random.random() < 0.5:
        body = message[:-1]
        return body + bytes([crc8(body, form.crc_end)]), True
    return message, False


def flipped(random: np.random.Generator, message: bytes) -> bytes:
    """A message with a few other bytes."""
    damaged = np.frombuffer(message, np.uint8).copy()
    if len(damaged):
        places = random.integers(len(damaged), size=random.integers(1, 5))
        damaged[places] ^= random.integers(1, 256, len(places)).astype(np.uint8)
    return damaged.tobytes()


@dataclass
class Outcomes:
    """What a reader did with the messages so far.

    Arguments
    ---------
    accepted, refused, crashes, hangs : int
        Messages: read, refused by BitstreamError, refused by anything else,
        and those that took more than 10 ms of the processor's time.
    damaged, missed : int
        Messages that were changed and not given a right checksum, and how
        many of these were read.
    slowest_ms : float
        The longest time of a message.
    most_bytes : int
        Most that was allocated over 64 bytes a frame that was read.
    over_memory : int
        Messages, of those that were looked at, that took more than 1 MiB.
    """

    accepted: int = 0
    refused: int = 0
    crashes: int = 0
    hangs: int = 0
    damaged: int = 0
    missed: int = 0
    slowest_ms: float = 0.0
    most_bytes: int = 0
    over_memory: int = 0

    def read(self, form: Form, message: bytes) -> int | None:
        """Frames of a message; None, if it was refused."""
        signal.setitimer(signal.ITIMER_PROF, HANG_SECONDS)
        start = time.thread_time()
        frames = None
        try:
            frames = form.read(message)
            self.accepted += 1
        except BitstreamError as error:
            self.refused += 1
            self.crashes += "\n" in str(error) or error.offset is None
        except Exception as error:
            self.crashes += 1
            tqdm.write(f"{form.name}: {message.hex()}: {error!r}")
        seconds = time.thread_time() - start
        signal.setitimer(signal.ITIMER_PROF, 0.0)
        self.hangs += seconds > SLOW_SECONDS
        self.slowest_ms = max(self.slowest_ms, 1e3 * seconds)
        return frames

    def watch_memory(self, form: Form, message: bytes) -> None:
        """Read a message once more, to see what it allocates."""
        tracemalloc.start()
        try:
            frames = form.read(message)
        except Exception:
            frames = 0
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        beside_frames = peak - FRAME_BYTES * frames
        self.most_bytes = max(self.most_bytes, beside_frames)
        self.over_memory += beside_frames > FIXED_BYTES


def fuzzed(form: Form, count: int, seed: int, progress: tqdm) -> Row:
    """The row of one form and prior, without the prior's name.

    Arguments
    ---------
    form : Form
        The form.
    count : int
        How many messages.
    seed : int
        Of the messages.
    progress : tqdm
        A bar of messages.

    Returns
    -------
    Row
        "missed_percent" is the share of damaged messages that were read;
        "resident_growth_mib" what the process has grown by, the library's
        own memory included.
    """
    random = np.random.default_rng(seed)
    lengths = random.integers(0, MOST_FRAMES + 1, SOURCES)
    sources = [
        form.write(codes_like_speech(random, length)) for length in lengths
    ]
    known = set(sources)
    for message in sources:
        form.read(message)
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcomes = Outcomes()
    for index in range(count):
        message, forged = mangled(random, sources, form)
        frames = outcomes.read(form, message)
        if not forged and message not in known:
            outcomes.damaged += 1
            outcomes.missed += frames is not None
        if index % MEMORY_STEP == 0:
            outcomes.watch_memory(form, message)
        progress.update()
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - resident
    return {
        "messages": count,
        "accepted": outcomes.accepted,
        "refused": outcomes.refused,
        "crashes": outcomes.crashes,
        "hangs": outcomes.hangs,
        "slowest_ms": outcomes.slowest_ms,
        "over_memory": outcomes.over_memory,
        "most_kib": outcomes.most_bytes / 1024,
        "resident_growth_mib": grown / 1024,
        "missed_percent": 100.0 * outcomes.missed / max(outcomes.damaged, 1),
    }


def _raise_hang(*_: object) -> None:
    raise Hang(f"not done after {HANG_SECONDS} s")


def main(arguments: Sequence[str] | None = None) -> None:
    """Try every form with every prior and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--output", default="results/fuzz_bitstream.json")
    parser.add_argument(
        "--messages", type=int, default=1_000_000, help="of all forms together"
    )
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGPROF, _raise_hang)
    targets = [
        (name, form)
        for name, prior in priors().items()
        for form in forms(prior)
    ]
    count = -(-options.messages // len(targets))
    rows = []
    with tqdm(
        total=count * len(targets), unit="message", disable=None
    ) as progress:
        for seed, (name, form) in enumerate(targets):
            row = fuzzed(form, count, seed, progress)
            rows.append({"form": form.name, "prior": name, **row})
    write_results(
        options.output,
        rows,
        f"mangled messages of up to {MOST_FRAMES} frames, codebooks of "
        f"{' and '.join(map(str, CARDINALITIES))} entries",
        SEED,
    )


if __name__ == "__main__":
    main()
