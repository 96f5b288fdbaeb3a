"""What readers make of messages that are damaged, cut, forged or random.

``python benchmarks/fuzz_bitstream.py`` gives a million of them to the readers
of every form of message, over every kind of prior, and writes a row a form and
prior to ``results/fuzz_bitstream.json``, and rows over all forms and over all
priors. See ``docs/bitstream.md``.
"""

import argparse
import resource
import signal
import time
import tracemalloc
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from math import ceil

import numpy as np
from fuzz_forms import MOST_FRAMES, Form, forms
from fuzz_mangling import Mangled, mangled
from fuzz_priors import (
    NAMES,
    PEAKED_SIZES,
    SEED,
    SPEECH_SIZES,
    WIDE_SIZES,
    Kind,
    kind,
)
from scipy.stats import binom
from tqdm import tqdm

from speechbrain_acom.errors import BitstreamError
from speechbrain_acom.studies.results import Row, write_results

# Real messages that are mangled, for so many mangled ones each, at most.
FEWEST_SOURCES, MOST_SOURCES, PER_SOURCE = 4, 64, 8
# Most messages are up to so long, every eighth up to MOST_FRAMES.
USUAL_FRAMES = 100
# What a message may take beside what its frames do.
FIXED_SECONDS = 0.010
# A message that took longer is read again; its shortest time counts.
SLOW_REPEATS = 3
# What is not done by then will never be.
HANG_SECONDS = 2.0
FIXED_BYTES, FRAME_BYTES = 1 << 20, 64
# Every so many messages the memory is looked at, which takes longer.
MEMORY_STEP = 50
# Messages from here on say what a frame takes.
LONG_FRAMES = 25
# Damage that a CRC-8 misses; and how seldom chance may go beyond the bound.
MISSED_SHARE, MISSED_RISK = 1 / 256, 1e-6
ALL = "all"


class Hang(Exception):
    """A reader has not come to an end."""


@dataclass
class Outcomes:
    """What a reader did with the messages so far.

    Arguments
    ---------
    accepted, refused, crashes, hangs : int
        Messages: read, refused by BitstreamError, refused by anything else
        (or read, though they must not be), and those that took longer than
        they may.
    checked, checked_missed : int
        Messages that were changed and not given a right checksum, each
        counted once, in forms whose checksum is that of the whole message;
        and how many of these were read.
    unchecked, unchecked_missed : int
        The same of forms without such a checksum.
    over_10_ms : int
        Messages that took longer than that, as long ones may.
    over_memory : int
        Messages, of those that were looked at, that took more than 1 MiB.
    resident_kib : int
        What the process has grown by, the library's own memory included.
    slowest_ms : float
        The longest time of a message.
    slowest_share : float
        The largest part of what it may take that a message took.
    slowest_frame_us : float
        The longest time of a frame, in messages of 25 frames or more that
        were read.
    most_bytes : int
        Most that was allocated over 64 bytes a frame that was read.
    """

    accepted: int = 0
    refused: int = 0
    crashes: int = 0
    hangs: int = 0
    checked: int = 0
    checked_missed: int = 0
    unchecked: int = 0
    unchecked_missed: int = 0
    over_10_ms: int = 0
    over_memory: int = 0
    resident_kib: int = 0
    slowest_ms: float = field(default=0.0, metadata={"joined": max})
    slowest_share: float = field(default=0.0, metadata={"joined": max})
    slowest_frame_us: float = field(default=0.0, metadata={"joined": max})
    most_bytes: int = field(default=0, metadata={"joined": max})

    def read(self, form: Form, message: Mangled, frame_us: float) -> int | None:
        """Read a message, and note what came of it.

        Arguments
        ---------
        form : Form
            Its reader.
        message : Mangled
            The message.
        frame_us : float
            Microseconds that a frame of it may take.

        Returns
        -------
        int | None
            Frames of codes; None, if it was refused.
        """
        seconds, said = _timed(form, message.content)
        frames = said if isinstance(said, int) else None
        if frames is not None:
            self.accepted += 1
            self.crashes += message.of_others
        elif isinstance(said, BitstreamError):
            self.refused += 1
            self.crashes += "\n" in str(said) or said.offset is None
        else:
            self.crashes += 1
            tqdm.write(f"{form.name}: {message.content.hex()}: {said!r}")
        # Of a refused message all frames that a reader takes may be decoded.
        decoded = MOST_FRAMES if frames is None else frames
        most_seconds = FIXED_SECONDS + 1e-6 * frame_us * decoded
        # A machine that others use is slow now and then, a reader always.
        for _ in range(SLOW_REPEATS):
            if seconds <= most_seconds:
                break
            seconds = min(seconds, _timed(form, message.content)[0])
        self._note_time(seconds, most_seconds, frames)
        return frames

    def _note_time(
        self, seconds: float, most_seconds: float, frames: int | None
    ) -> None:
        share = seconds / most_seconds
        self.hangs += share > 1
        self.over_10_ms += seconds > FIXED_SECONDS
        self.slowest_share = max(self.slowest_share, share)
        self.slowest_ms = max(self.slowest_ms, 1e3 * seconds)
        if frames is not None and frames >= LONG_FRAMES:
            found = 1e6 * seconds / frames
            self.slowest_frame_us = max(self.slowest_frame_us, found)

    def note_damage(self, form: Form, missed: bool) -> None:
        """Count a message that was changed and not sealed."""
        if form.covers_all:
            self.checked += 1
            self.checked_missed += missed
        else:
            self.unchecked += 1
            self.unchecked_missed += missed

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

    def row(self) -> Row:
        """The figures, without the names of form and prior.

        "missed_percent" is the share of damaged messages that were read, in
        forms with a checksum over the whole message;
        "missed_bound_percent" what 1/256 of them comes to by chance once in
        a million times; None, where there is none.
        """
        most = binom.isf(MISSED_RISK, self.checked, MISSED_SHARE)
        return {
            "messages": self.accepted + self.refused,
            "accepted": self.accepted,
            "refused": self.refused,
            "crashes": self.crashes,
            "hangs": self.hangs,
            "over_10_ms": self.over_10_ms,
            "slowest_ms": self.slowest_ms,
            "slowest_share": self.slowest_share,
            "slowest_frame_us": self.slowest_frame_us,
            "over_memory": self.over_memory,
            "most_kib": self.most_bytes / 1024,
            "resident_growth_mib": self.resident_kib / 1024,
            "missed_percent": _percent(self.checked_missed, self.checked),
            "missed_bound_percent": _percent(float(most), self.checked),
            "unchecked_missed_percent": _percent(
                self.unchecked_missed, self.unchecked
            ),
        }


def _timed(form: Form, content: bytes) -> tuple[float, int | Exception]:
    """Seconds that a message takes, and its frames or what was raised."""
    said: int | Exception
    signal.setitimer(signal.ITIMER_PROF, HANG_SECONDS)
    start = time.thread_time()
    try:
        said = form.read(content)
    except Exception as error:
        said = error
    seconds = time.thread_time() - start
    signal.setitimer(signal.ITIMER_PROF, 0.0)
    return seconds, said


def _percent(part: float, whole: int) -> float | None:
    return 100.0 * part / whole if whole else None


def joined(parts: Sequence[Outcomes]) -> Outcomes:
    """What several readers did, together."""
    return Outcomes(
        **{
            one.name: one.metadata.get("joined", sum)(
                getattr(part, one.name) for part in parts
            )
            for one in fields(Outcomes)
        }
    )


def fuzzed(
    form: Form, prior_kind: Kind, count: int, seed: int, progress: tqdm
) -> Outcomes:
    """What the reader of one form and prior does.

    Arguments
    ---------
    form : Form
        The form.
    prior_kind : Kind
        The prior.
    count : int
        How many messages.
    seed : int
        Of the messages.
    progress : tqdm
        A bar of messages.

    Returns
    -------
    Outcomes
        Of all messages.
    """
    random = np.random.default_rng(seed)
    wanted = max(FEWEST_SOURCES, min(count // PER_SOURCE, MOST_SOURCES))
    lengths = random.integers(0, USUAL_FRAMES + 1, wanted)
    lengths[::8] = random.integers(0, MOST_FRAMES + 1, -(-wanted // 8))
    sources = [
        form.write(prior_kind.draw(random, length)) for length in lengths
    ]
    # No change of these, or one that was counted.
    known = set(sources)
    for message in sources:
        form.read(message)
    frame_us = prior_kind.code_us * len(prior_kind.prior.cardinalities)
    resident = _resident_kib()
    outcomes = Outcomes()
    for index in range(count):
        message = mangled(random, sources, form)
        frames = outcomes.read(form, message, frame_us)
        if not message.sealed and message.content not in known:
            known.add(message.content)
            outcomes.note_damage(form, missed=frames is not None)
        if index % MEMORY_STEP == 0:
            outcomes.watch_memory(form, message.content)
        progress.update()
    outcomes.resident_kib = _resident_kib() - resident
    return outcomes


def rows_of(
    targets: Sequence[tuple[Kind, Form, int]], progress: tqdm
) -> Iterator[Row]:
    """A row a form and prior, then over all priors, then over all forms."""
    found: dict[tuple[str, str], Outcomes] = {}
    for seed, (one, form, count) in enumerate(targets):
        found[form.name, one.name] = fuzzed(form, one, count, seed, progress)
    form_names = dict.fromkeys(form for form, _ in found)
    prior_names = dict.fromkeys(prior for _, prior in found)
    groups = [(form, prior) for form, prior in found]
    groups += [(form, ALL) for form in form_names]
    groups += [(ALL, prior) for prior in prior_names]
    for form, prior in groups:
        parts = [
            outcomes
            for names, outcomes in found.items()
            if form in (ALL, names[0]) and prior in (ALL, names[1])
        ]
        yield {"form": form, "prior": prior, **joined(parts).row()}


def targets_of(
    messages: int, names: Sequence[str] = NAMES
) -> list[tuple[Kind, Form, int]]:
    """Every prior and form, and how many of the messages it gets."""
    pairs = [
        (one, form) for one in map(kind, names) for form in forms(one.prior)
    ]
    each = messages / sum(one.weight for one, _ in pairs)
    return [(one, form, ceil(each * one.weight)) for one, form in pairs]


def _resident_kib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _raise_hang(*_: object) -> None:
    raise Hang(f"not done after {HANG_SECONDS} s")


def main(arguments: Sequence[str] | None = None) -> None:
    """Try every form with every prior and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--output", default="results/fuzz_bitstream.json")
    parser.add_argument(
        "--messages", type=int, default=1_000_000, help="of all forms together"
    )
    parser.add_argument("--priors", nargs="+", default=NAMES, choices=NAMES)
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGPROF, _raise_hang)
    targets = targets_of(options.messages, options.priors)
    total = sum(count for _, _, count in targets)
    with tqdm(total=total, unit="message", disable=None) as progress:
        rows = list(rows_of(targets, progress))
    write_results(
        options.output,
        rows,
        f"mangled messages of up to {MOST_FRAMES} frames, codebooks of "
        f"{' and '.join(map(str, SPEECH_SIZES))} entries, wide ones "
        f"{WIDE_SIZES[0]}, peaked ones "
        f"{len(PEAKED_SIZES)} of {PEAKED_SIZES[0]}",
        SEED,
    )


if __name__ == "__main__":
    main()
