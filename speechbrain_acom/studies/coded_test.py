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
from speechbrain_acom.entropy.framing import Framing
from speechbrain_acom.entropy.limits import MAX_FRAMES
from speechbrain_acom.entropy.priors import Prior
from speechbrain_acom.errors import AudioError, DataError
from speechbrain_acom.inference.export import copy_half
from speechbrain_acom.inference.interfaces import AcomInterface
from speechbrain_acom.metrics.codebook_use import CodebookUse, CodebookUseRow
from speechbrain_acom.metrics.rate import Rate, RateMeter

logger = get_logger(__name__)

# The real messages and the two controls.
VARIANTS = ("real", "random", "constant")


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
    """Answers of the second process, aligned with ``names``.

    Arguments
    ---------
    names : list[str]
        IDs of what was coded.
    message_bytes : list[int]
        Sizes of the real messages.
    targets : list[str]
        The right answers.
    real : list[str]
        Answers to the real messages.
    random : list[str]
        Answers to messages of random codes.
    constant : list[str]
        Answers to messages that repeat the likeliest codes of a first frame.
    rate : Rate
        The four rates of the real messages.
    codebook_use : list[CodebookUseRow]
        Use of each codebook that was sent.
    mean_run : float
        Frames at the cut per frame of codes.
    seconds : float
        Audio that was coded.
    skipped : list[str]
        Files that could not be read, left out of everything above.
    """

    names: list[str]
    message_bytes: list[int]
    targets: list[str]
    real: list[str]
    random: list[str]
    constant: list[str]
    rate: Rate
    codebook_use: list[CodebookUseRow]
    mean_run: float
    seconds: float
    skipped: list[str]


def run_coded_test(
    interface: AcomInterface,
    source: str | Path,
    items: Sequence[TestItem],
    folder: str | Path,
    seed: int = 0,
    num_codebooks: int | None = None,
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
        Where messages, the cloud's files and answers are written; those of
        an earlier test are replaced.
    seed : int
        Of the random codes.
    num_codebooks : int | None
        k: send the first k codebooks only. None: all of them.

    Returns
    -------
    CodedTest
        Answers and rates.

    Raises
    ------
    ConfigurationError
        If the quantizer has no such k.
    DataError
        If no item can be read, or the second process fails.
    """
    folder = Path(folder)
    _remove_earlier(folder)
    framing = interface.bottleneck.framing
    prior = _sent_prior(interface, num_codebooks)
    books = prior.cardinalities[framing.run_columns :]
    meter, use = RateMeter(prior), CodebookUse(books)
    controls = _Controls(prior, framing, np.random.default_rng(seed))
    coded, sizes, skipped, total = [], [], [], 0.0
    frames, code_frames = 0, 0
    for item in tqdm(items, desc="coding the test set"):
        try:
            seconds = probe_audio(item.path).seconds
            signal = load_audio(item.path, interface.hparams.sample_rate)
            codes, num_frames = interface.signal_codes(signal, num_codebooks)
        except AudioError as error:
            logger.warning("left out: %s", error)
            skipped.append(item.name)
            continue
        message = interface.message(codes, num_frames)
        payload = read_header(message).payload_bytes
        meter.add(codes.numpy(), payload, len(message), seconds)
        use.update(codes[:, framing.run_columns :].unsqueeze(0))
        messages = {"real": message}
        for control, values in controls.codes(num_frames).items():
            messages[control] = interface.message(values, num_frames)
        _write(messages, folder, item)
        coded.append(item)
        sizes.append(len(message))
        total += seconds
        frames += num_frames
        code_frames += len(codes)
    if not coded:
        raise DataError(
            f"test set: found no readable file of {len(items)}, expected audio"
        )
    answers = _second_process(source, folder)
    given = {
        variant: [
            answers[str(_message_path(folder, variant, item))] for item in coded
        ]
        for variant in VARIANTS
    }
    return CodedTest(
        names=[item.name for item in coded],
        message_bytes=sizes,
        targets=[item.target for item in coded],
        rate=meter.rate(),
        codebook_use=use.rows(),
        mean_run=frames / code_frames,
        seconds=total,
        skipped=skipped,
        **given,
    )


def _remove_earlier(folder: Path) -> None:
    for name in ("messages", "cloud"):
        shutil.rmtree(folder / name, ignore_errors=True)
    (folder / "answers.json").unlink(missing_ok=True)


def _message_path(folder: Path, variant: str, item: TestItem) -> Path:
    return folder / "messages" / variant / f"{item.name}.acom"


def _sent_prior(interface: AcomInterface, num_codebooks: int | None) -> Prior:
    """The prior of what is sent."""
    bottleneck = interface.bottleneck
    books = bottleneck.quantizer.checked_num_codebooks(num_codebooks)
    return interface.prior.first(bottleneck.framing.run_columns + books)


@dataclass
class _Controls:
    """Makes codes that say nothing about the audio but its length."""

    prior: Prior
    framing: Framing
    generator: np.random.Generator

    def codes(self, num_frames: int) -> dict[str, Tensor]:
        """Codes (code frame, K) that cover so many frames, by control."""
        cardinalities = self.prior.cardinalities
        shape = (self.framing.most_code_frames(num_frames), len(cardinalities))
        drawn = self.generator.integers(0, cardinalities, shape)
        constant = np.broadcast_to(_likeliest(self.prior), shape)
        return {
            name: torch.from_numpy(self.framing.trimmed(codes, num_frames))
            for name, codes in (("random", drawn), ("constant", constant))
        }


def _likeliest(prior: Prior) -> list[int]:
    """The likeliest code of each codebook in the first frame, coarse to fine."""
    predictor = prior.predictor()
    codes = []
    for codebook in range(len(prior.cardinalities)):
        codes.append(int(predictor.frequencies(codebook).argmax()))
        predictor.update(codebook, codes[-1])
    return codes


def _write(messages: dict[str, bytes], folder: Path, item: TestItem) -> None:
    for variant, message in messages.items():
        path = _message_path(folder, variant, item)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(message)


def _second_process(source: str | Path, folder: Path) -> dict[str, str]:
    """Answers by message path, from a process without the device half."""
    cloud = copy_half(source, "cloud", folder / "cloud")
    output = folder / "answers.json"
    messages = str(folder / "messages")
    command = [sys.executable, "-m", "speechbrain_acom.cli", "decode"]
    command += [messages, "--model", str(cloud), "--json", "-o", str(output)]
    # Long silence costs next to nothing: no limit for what we coded ourselves.
    command += ["--max-frames", str(MAX_FRAMES)]
    done = subprocess.run(command)
    if done.returncode != 0:
        raise DataError(
            f"second process: found exit status {done.returncode}, expected "
            "0: its error stands above"
        )
    answers = json.loads(output.read_text(encoding="utf-8"))
    return {answer["message"]: answer["answer"] for answer in answers}
