"""Messages that no writer meant: damaged, cut, forged, of others, random."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from fuzz_forms import MODEL, MOST_FRAMES, Form, behind_number

from speechbrain_acom.entropy.container import varint

OVERSIZE = 1 << 17


@dataclass(frozen=True)
class Mangled:
    """A message that no writer meant.

    Arguments
    ---------
    content : bytes
        The message.
    sealed : bool
        Whether it got a right checksum, as forgers do.
    of_others : bool
        Whether it names another model, so that it must be refused.
    """

    content: bytes
    sealed: bool = False
    of_others: bool = False


def mangled(
    random: np.random.Generator, sources: Sequence[bytes], form: Form
) -> Mangled:
    """One message in some way.

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
    Mangled
        Half of those with a checksum are sealed, and all of other models.
    """
    if form.named and random.random() < 0.05:
        content = _of_others(random, sources[random.integers(len(sources))])
        sealed = form.seal(content) if form.seal else content
        return Mangled(sealed, form.seal is not None, of_others=True)
    ways = _ways(random, sources, form)
    content = ways[random.integers(len(ways))]()
    if form.seal is not None and random.random() < 0.5:
        return Mangled(form.seal(content), sealed=True)
    return Mangled(content)


def _ways(
    random: np.random.Generator, sources: Sequence[bytes], form: Form
) -> list[Callable[[], bytes]]:
    first, second = (sources[i] for i in random.integers(len(sources), size=2))
    at, other = (int(random.integers(len(m) + 1)) for m in (first, second))
    start = first[: form.start]
    behind = behind_number(first, form.start)
    noise = random.bytes(int(random.integers(0, 120)))
    number = varint(int(random.integers(0, MOST_FRAMES + 1)))
    return [
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
        lambda: start + b"\x80\x80\x04" + first[behind:],
        # Numbers that a reader takes; then of codebooks, where it is said.
        lambda: start + number + first[behind:],
        lambda: start + varint(MOST_FRAMES) + noise[:8],
        lambda: first[:behind] + number + first[behind + 1 :],
        # More bytes than the codes of any of these can take.
        lambda: start + number + bytes(OVERSIZE),
    ]


def flipped(random: np.random.Generator, message: bytes) -> bytes:
    """A message with a few other bytes."""
    damaged = np.frombuffer(message, np.uint8).copy()
    if len(damaged):
        places = random.integers(len(damaged), size=random.integers(1, 5))
        damaged[places] ^= random.integers(1, 256, len(places)).astype(np.uint8)
    return damaged.tobytes()


def _of_others(random: np.random.Generator, message: bytes) -> bytes:
    """A message that names another model, or another prior."""
    name = int.from_bytes(MODEL, "big") ^ int(random.integers(1, 1 << 16))
    return message[:1] + name.to_bytes(2, "big") + message[3:]
