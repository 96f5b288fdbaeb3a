"""One half of a coding job, in a process of its own.

``encode`` turns the codes in a folder into payloads and messages, ``decode``
turns those of another folder, which has no codes, back into codes. Both take
the time that one core spends on all payloads.

``python benchmarks/entropy_worker.py decode FOLDER``; ``measured_coding`` is
who calls it.
"""

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time

import numpy as np
from code_coders import (
    ArchiveCoder,
    CodeCoder,
    FixedCoder,
    HuffmanCoder,
    PriorCoder,
)
from code_sets import CodeSet, load_codes

from speechbrain_acom.entropy.bitstream import read_message, write_message
from speechbrain_acom.entropy.framing import Framing
from speechbrain_acom.errors import DataError

MODEL_HASH = b"\0\0"
# Short test sets are gone through again until a process has worked so long.
SECONDS = 0.5
# What libraries of linear algebra read when they are loaded.
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"
)


@dataclass(frozen=True)
class Coding:
    """What became of the utterances of a set.

    Arguments
    ---------
    payload_bytes : np.ndarray
        Of each utterance.
    message_bytes : np.ndarray | None
        Of each utterance, container included; None: it has no container.
    bits : np.ndarray | None
        Ideal size of each payload; None: the coder has no probabilities.
    file_bytes : int
        Size of what the decoder needs beside the payloads.
    encode_seconds : float
        Processor time of one pass over all payloads.
    decode_seconds : float
        The same for decoding.
    """

    payload_bytes: np.ndarray
    message_bytes: np.ndarray | None
    bits: np.ndarray | None
    file_bytes: int
    encode_seconds: float
    decode_seconds: float


def measured_coding(
    coder: CodeCoder, codes: CodeSet, seconds: float = SECONDS
) -> Coding:
    """Encode in one process, decode in another, compare the codes.

    Arguments
    ---------
    coder : CodeCoder
        With all that it learned from training codes.
    codes : CodeSet
        What to code.
    seconds : float
        Start no new pass after so much time of the processor.

    Returns
    -------
    Coding
        Sizes and times.

    Raises
    ------
    DataError
        If a process fails, or other codes come back.
    """
    with TemporaryDirectory() as folder:
        device, cloud = Path(folder, "device"), Path(folder, "cloud")
        for place in (device, cloud):
            place.mkdir()
            coder.save(place / "coder")
            job = {"coder": type(coder).__name__, "seconds": seconds}
            (place / "job.json").write_text(json.dumps(job))
        codes.save(device / "codes.npz")
        encode_seconds = _process("encode", device)
        for name in ("payloads.npz", "messages.npz"):
            if (device / name).exists():
                shutil.copy(device / name, cloud)
        decode_seconds = _process("decode", cloud)
        decoded = np.load(cloud / "decoded.npz")["codes"]
        if not np.array_equal(decoded, np.concatenate(codes.utterances)):
            raise DataError(
                f"{type(coder).__name__}: found other codes after decoding, "
                "expected those that were encoded"
            )
        sizes = np.load(device / "sizes.npz")
        return Coding(
            payload_bytes=sizes["payload"],
            message_bytes=sizes.get("message"),
            bits=sizes.get("bits"),
            file_bytes=(device / "coder").stat().st_size,
            encode_seconds=encode_seconds,
            decode_seconds=decode_seconds,
        )


def _process(action: str, folder: Path) -> float:
    command = [sys.executable, __file__, action, str(folder)]
    done = subprocess.run(command, env={**os.environ, **ONE_THREAD})
    if done.returncode != 0:
        raise DataError(
            f"{action}: found exit status {done.returncode}, expected 0: the "
            "error of the process stands above"
        )
    return json.loads((folder / "seconds.json").read_text())


def encode(coder: CodeCoder, folder: Path, seconds: float) -> float:
    """Write payloads and messages of ``codes.npz``; give the seconds.

    Arguments
    ---------
    coder : CodeCoder
        The coder.
    folder : Path
        Where the codes are.
    seconds : float
        As for :func:`measured_coding`.

    Returns
    -------
    float
        Processor time of the payloads.
    """
    codes = load_codes(folder / "codes.npz")
    coder.encode(codes.utterances[0])
    payloads, fastest = _timed(
        lambda: [coder.encode(utterance) for utterance in codes.utterances],
        seconds,
    )
    sizes = {"payload": [len(payload) for payload in payloads]}
    if type(coder) is PriorCoder:
        messages = [
            write_message(
                utterance, int(frames), coder.prior, MODEL_HASH, codes.framing
            )
            for utterance, frames in zip(
                codes.utterances, codes.num_frames, strict=True
            )
        ]
        sizes["message"] = [len(message) for message in messages]
        save_strings(
            folder / "messages.npz",
            messages,
            merge=codes.framing.merge,
            run_lengths=codes.framing.run_lengths,
        )
    bits = [coder.bits(utterance) for utterance in codes.utterances]
    if bits[0] is not None:
        sizes["bits"] = bits
    np.savez(folder / "sizes.npz", **sizes)
    frames = [len(utterance) for utterance in codes.utterances]
    save_strings(folder / "payloads.npz", payloads, code_frames=frames)
    return fastest


def decode(coder: CodeCoder, folder: Path, seconds: float) -> float:
    """Write the codes of payloads and messages; give the seconds.

    Arguments
    ---------
    coder : CodeCoder
        The coder.
    folder : Path
        Where payloads are, and messages or none.
    seconds : float
        As for :func:`measured_coding`.

    Returns
    -------
    float
        Processor time of the payloads.

    Raises
    ------
    DataError
        If a message holds other codes than its payload.
    """
    payloads, stored = load_strings(folder / "payloads.npz")
    frames = stored["code_frames"].tolist()
    coder.decode(payloads[0], frames[0])
    decoded, fastest = _timed(
        lambda: [
            coder.decode(payload, count)
            for payload, count in zip(payloads, frames, strict=True)
        ],
        seconds,
    )
    if (folder / "messages.npz").exists():
        messages, stored = load_strings(folder / "messages.npz")
        framing = Framing(int(stored["merge"]), bool(stored["run_lengths"]))
        for message, codes in zip(messages, decoded, strict=True):
            read = read_message(message, coder.prior, MODEL_HASH, framing)
            if not np.array_equal(read.codes, codes):
                raise DataError(
                    "message: found other codes than those of its payload, "
                    "expected the same"
                )
    np.savez(folder / "decoded.npz", codes=np.concatenate(decoded))
    return fastest


def _timed(action: Callable[[], list], seconds: float) -> tuple[list, float]:
    """What an action gives, and its time when it was fastest."""
    fastest, begin = math.inf, process_time()
    while fastest == math.inf or process_time() - begin < seconds:
        start = process_time()
        result = action()
        fastest = min(fastest, process_time() - start)
    return result, fastest


def save_strings(path: Path, strings: Sequence[bytes], **more: object) -> None:
    """Write byte strings of any length, one after the other, and more."""
    lengths = [len(string) for string in strings]
    joined = np.frombuffer(b"".join(strings), np.uint8)
    np.savez(path, joined=joined, lengths=lengths, **more)


def load_strings(path: Path) -> tuple[list[bytes], dict[str, np.ndarray]]:
    """Read what :func:`save_strings` wrote: the strings, and all of it."""
    with np.load(path) as file:
        stored = dict(file)
    joined = stored["joined"].tobytes()
    ends = np.cumsum(stored["lengths"]).tolist()
    parts = [joined[start:end] for start, end in pairwise([0, *ends])]
    return parts, stored


def _coder(name: str, folder: Path) -> CodeCoder:
    kinds = (PriorCoder, FixedCoder, HuffmanCoder, ArchiveCoder)
    if name in ("TransformerCoder", "FloatNetworkCoder"):
        # Only here, so that the others start without torch.
        import torch
        from float_network import FloatNetworkCoder
        from transformer_prior import TransformerCoder

        torch.set_num_threads(1)
        kinds = (TransformerCoder, FloatNetworkCoder)
    return {kind.__name__: kind for kind in kinds}[name].load(folder / "coder")


def main(arguments: Sequence[str] | None = None) -> None:
    """Do one half of a job."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("action", choices=("encode", "decode"))
    parser.add_argument("folder", type=Path)
    options = parser.parse_args(arguments)
    action = encode if options.action == "encode" else decode
    job = json.loads((options.folder / "job.json").read_text())
    coder = _coder(job["coder"], options.folder)
    seconds = action(coder, options.folder, job["seconds"])
    (options.folder / "seconds.json").write_text(json.dumps(seconds))


if __name__ == "__main__":
    main()
