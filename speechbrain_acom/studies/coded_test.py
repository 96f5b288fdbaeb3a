"""Testing a coded model for real: bytes here, answers in another process.

This process holds the device half and writes one message an utterance. A
second process is started on a folder that has the cloud half's files and no
others, reads the messages and writes its answers. Two controls go the same
way: random codes, and one constant code, in place of the real ones. If the
model's answers survive a control, something else than the codes reaches the
cloud half, or the codes carry nothing.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from speechbrain.utils.logger import get_logger
from torch import Tensor
from tqdm import tqdm

from speechbrain_acom.audio import load_audio, probe_audio
from speechbrain_acom.entropy.bitstream import read_header
from speechbrain_acom.entropy.prior import StaticPrior
from speechbrain_acom.errors import AudioError, DataError
from speechbrain_acom.inference.export import copy_half
from speechbrain_acom.inference.interfaces import AcomInterface
from speechbrain_acom.metrics.codebook_use import CodebookUse, CodebookUseRow
from speechbrain_acom.metrics.rate import Rate, RateMeter

logger = get_logger(__name__)


@dataclass
class TestItem:
    """One utterance or clip of a test set.

    Arguments
    ---------
    name : str
        Its ID, which names the message file.
    path : str
        The audio file.
    target : str
        The right answer: a transcript or a label.
    """

    __test__ = False  # not a test case, whatever its name says to pytest

    name: str
    path: str
    target: str


@dataclass
class CodedTest:
    """Answers of the second process, aligned with ``targets``.

    Arguments
    ---------
    targets : list[str]
        The right answers.
    real : list[str]
        Answers to the real messages.
    random : list[str]
        Answers to messages of random codes.
    constant : list[str]
        Answers to messages that repeat the prior's likeliest codes.
    rate : Rate
        The four rates of the real messages.
    codebook_use : list[CodebookUseRow]
        Use of each codebook on the test set.
    seconds : float
        Audio that was coded.
    skipped : list[str]
        Files that could not be read, left out of everything above.
    """

    targets: list[str]
    real: list[str]
    random: list[str]
    constant: list[str]
    rate: Rate
    codebook_use: list[CodebookUseRow]
    seconds: float
    skipped: list[str]


def run_coded_test(
    interface: AcomInterface,
    source: str | Path,
    items: Sequence[TestItem],
    folder: str | Path,
    seed: int = 0,
) -> CodedTest:
    """Code a test set into bytes and have another process answer.

    Arguments
    ---------
    interface : AcomInterface
        Holds the device half, at least.
    source : str | Path
        The exported model that the interface was loaded from.
    items : Sequence[TestItem]
        The test set.
    folder : str | Path
        Where messages, the cloud's files and answers are written.
    seed : int
        Of the random codes.

    Returns
    -------
    CodedTest
        Answers and rates.

    Raises
    ------
    DataError
        If no item can be read.
    """
    folder = _empty(Path(folder))
    prior = interface.prior
    meter, use = RateMeter(prior), CodebookUse(prior.cardinalities)
    controls = np.random.default_rng(seed)
    coded, skipped, total = [], [], 0.0
    for item in tqdm(items, desc="coding the test set"):
        try:
            seconds = probe_audio(item.path).seconds
            signal = load_audio(item.path, interface.hparams.sample_rate)
        except AudioError as error:
            logger.warning("left out: %s", error)
            skipped.append(item.name)
            continue
        codes, num_frames = interface.signal_codes(signal)
        messages = _Messages(
            interface.message(codes, num_frames),
            interface.message(
                _random_codes(codes, prior, controls), num_frames
            ),
            interface.message(_constant_codes(codes, prior), num_frames),
        )
        messages.write(folder, item.name)
        payload = read_header(messages.real).payload_bytes
        meter.add(codes.numpy(), payload, len(messages.real), seconds)
        use.update(codes.unsqueeze(0))
        coded.append(item)
        total += seconds
    if not coded:
        raise DataError(
            f"test set: found no readable file of {len(items)}, expected audio"
        )
    answers = _second_process(source, folder)
    names = [item.name for item in coded]
    return CodedTest(
        targets=[item.target for item in coded],
        real=[answers[f"real/{name}"] for name in names],
        random=[answers[f"random/{name}"] for name in names],
        constant=[answers[f"constant/{name}"] for name in names],
        rate=meter.rate(),
        codebook_use=use.rows(),
        seconds=total,
        skipped=skipped,
    )


@dataclass
class _Messages:
    """The real message of an utterance and its two controls."""

    real: bytes
    random: bytes
    constant: bytes

    def write(self, folder: Path, name: str) -> None:
        for variant, message in vars(self).items():
            path = folder / "messages" / variant / f"{name}.acom"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(message)


def _random_codes(
    codes: Tensor, prior: StaticPrior, generator: np.random.Generator
) -> Tensor:
    """Codes of the same shape, every entry as likely as any other."""
    drawn = generator.integers(0, prior.cardinalities, codes.shape)
    return torch.from_numpy(drawn)


def _constant_codes(codes: Tensor, prior: StaticPrior) -> Tensor:
    """In every frame the prior's likeliest entry of each codebook."""
    likeliest = [int(table.argmax()) for table in prior.tables]
    return torch.tensor(likeliest).expand(codes.shape).contiguous()


def _second_process(source: str | Path, folder: Path) -> dict[str, str]:
    """Answers by message name, from a process without the device half."""
    cloud = copy_half(source, "cloud", folder / "cloud")
    output = folder / "answers.json"
    messages = str(folder / "messages")
    command = [sys.executable, "-m", "speechbrain_acom.cli", "decode"]
    command += [messages, "--model", str(cloud), "--json", "-o", str(output)]
    done = subprocess.run(command)
    if done.returncode != 0:
        raise DataError(
            f"second process: found exit status {done.returncode}, expected "
            "0: its error stands above"
        )
    answers = json.loads(output.read_text(encoding="utf-8"))
    return {answer["message"]: answer["answer"] for answer in answers}


def _empty(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
