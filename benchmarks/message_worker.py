"""The reader of messages, in a process of its own.

It is given what two sides agree on beforehand, and the bytes; no codes, and
no lengths but those of the byte strings.

``python benchmarks/message_worker.py FOLDER ...``; ``read_elsewhere`` is who calls
it.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from entropy_worker import ONE_THREAD, load_strings, save_strings

from speechbrain_acom.entropy.bitstream import Message, read_message
from speechbrain_acom.entropy.endings import (
    ByteLength,
    CodedLength,
    Ending,
    EndSymbol,
)
from speechbrain_acom.entropy.framing import Framing
from speechbrain_acom.entropy.priors import StaticPrior, load_prior, save_prior
from speechbrain_acom.entropy.session import Session
from speechbrain_acom.errors import BitstreamError, DataError

SESSION, FILE = "session", "file"
# What a message says beside its codes.
FIELDS = ("num_frames", "payload_bytes", "num_codebooks", "sent_codebooks")


@dataclass(frozen=True)
class Job:
    """Messages to read.

    Arguments
    ---------
    session : Session
        What the sides agreed on.
    messages : Sequence[bytes]
        What arrived.
    form : str
        "session": what ``Session.write`` gave; "file": what ``write_message``
        gave with the session's prior, model and framing.
    """

    session: Session
    messages: Sequence[bytes]
    form: str = SESSION

    def save(self, folder: Path) -> None:
        """Write what another process needs."""
        folder.mkdir()
        session = self.session
        save_prior(session.prior, folder / "prior")
        settings = {
            "form": self.form,
            "model_hash": session.model_hash.hex(),
            "merge": session.framing.merge,
            "run_lengths": session.framing.run_lengths,
            "ending": session.ending.content().hex(),
            "checksum": session.checksum,
            "handshake": session.handshake().hex(),
        }
        (folder / "job.json").write_text(json.dumps(settings))
        save_strings(folder / "messages.npz", self.messages)

    @classmethod
    def load(cls, folder: Path) -> "Job":
        """Read what :meth:`save` wrote, and check the handshake."""
        settings = json.loads((folder / "job.json").read_text())
        session = Session(
            load_prior(folder / "prior"),
            bytes.fromhex(settings["model_hash"]),
            Framing(settings["merge"], settings["run_lengths"]),
            ending_of(bytes.fromhex(settings["ending"])),
            settings["checksum"],
        )
        session.check(bytes.fromhex(settings["handshake"]))
        messages, _ = load_strings(folder / "messages.npz")
        return cls(session, messages, settings["form"])

    def read(self) -> list[Message | None]:
        """What each message held; None where it was refused."""
        session, read = self.session, self.session.read
        if self.form == FILE:
            read = partial(
                read_message,
                prior=session.prior,
                model_hash=session.model_hash,
                framing=session.framing,
            )
        reads: list[Message | None] = []
        for message in self.messages:
            try:
                reads.append(read(message))
            except BitstreamError:
                reads.append(None)
        return reads


def read_elsewhere(jobs: Sequence[Job]) -> list[list[Message | None]]:
    """Read messages in another process.

    Arguments
    ---------
    jobs : Sequence[Job]
        The messages.

    Returns
    -------
    list[list[Message | None]]
        For each job what each message held; None where it was refused.

    Raises
    ------
    DataError
        If the process fails, as it does if it has agreed on something else.
    """
    with TemporaryDirectory() as name:
        folders = [Path(name, str(number)) for number in range(len(jobs))]
        for job, folder in zip(jobs, folders, strict=True):
            job.save(folder)
        command = [sys.executable, __file__, *map(str, folders)]
        done = subprocess.run(command, env={**os.environ, **ONE_THREAD})
        if done.returncode != 0:
            raise DataError(
                f"reader: found exit status {done.returncode}, expected 0: "
                "the error of the process stands above"
            )
        return [_loaded(folder / "read.npz") for folder in folders]


def check_read(
    reads: Sequence[Message | None],
    codes: Sequence[np.ndarray],
    num_frames: Sequence[int],
) -> None:
    """Make sure that what was read is what was written.

    Arguments
    ---------
    reads : Sequence[Message | None]
        What :func:`read_elsewhere` gave.
    codes : Sequence[np.ndarray]
        What was written, integers, each of shape (code frame, K).
    num_frames : Sequence[int]
        Frames at the cut of each.

    Raises
    ------
    DataError
        If a message was refused, or holds something else.
    """
    written = zip(reads, codes, num_frames, strict=True)
    for number, (read, expected, frames) in enumerate(written):
        same = read is not None and np.array_equal(read.codes, expected)
        if not (same and read.num_frames == frames):
            found = "no message" if read is None else "other codes"
            raise DataError(
                f"message {number}: found {found} after decoding, expected "
                f"the {frames} frames that were encoded"
            )


def _save(path: Path, reads: Sequence[Message | None]) -> None:
    kept = [read for read in reads if read is not None]
    fields = {
        field: [getattr(read, field) for read in kept] for field in FIELDS
    }
    np.savez(
        path,
        *(read.codes for read in kept),
        refused=[read is None for read in reads],
        **fields,
    )


def _loaded(path: Path) -> list[Message | None]:
    with np.load(path) as file:
        stored = dict(file)
    reads: list[Message | None] = []
    kept = 0
    for refused in stored["refused"]:
        if refused:
            reads.append(None)
            continue
        fields = {field: int(stored[field][kept]) for field in FIELDS}
        reads.append(Message(stored[f"arr_{kept}"], **fields))
        kept += 1
    return reads


def ending_of(content: bytes) -> Ending:
    """The ending that has this content.

    Arguments
    ---------
    content : bytes
        What ``Ending.content`` gave.

    Returns
    -------
    Ending
        The same ending.

    Example
    -------
    >>> ending_of(EndSymbol(25).content())
    EndSymbol(expected_frames=25)
    """
    if content == ByteLength().content():
        return ByteLength()
    kind, settings = content[:6], content[6:]
    if kind == b"symbol":
        return EndSymbol(int.from_bytes(settings, "big"))
    return CodedLength(StaticPrior.from_content(settings))


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the messages of folders, and write what they held."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folders", nargs="+", type=Path)
    for folder in parser.parse_args(arguments).folders:
        _save(folder / "read.npz", Job.load(folder).read())


if __name__ == "__main__":
    main()
