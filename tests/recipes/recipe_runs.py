"""Running a recipe as a user does."""

import json
import math
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile

from prepare_helpers import RECIPES

ASR = RECIPES / "LibriSpeech" / "ASR" / "CTC"
ENCODER_DECODER = ASR.with_name("transformer")
SOUND = RECIPES / "UrbanSound8k" / "SoundClassification"

# Small enough for seconds; each recipe's own YAML says the rest.
TINY_ASR = {
    "d_model": 32,
    "d_ffn": 32,
    "num_encoder_layers": 2,
    "split_layer": 1,
    "front_end_channels": 8,
    "batch_size": 4,
    "warmup_steps": 2,
}
TINY_SOUND = {"embedding_size": 16, "batch_size": 4, "warmup_steps": 2}
TINY_ECAPA = {
    **TINY_SOUND,
    "channels": 16,
    "aggregation_channels": 48,
    "attention_channels": 8,
}
TINY_CNN14 = {**TINY_SOUND, "width": 1 / 32}
TINY_RVQ = {"codebook_size": 16, "codebook_dim": 4, "num_codebooks": 2}

# Processes that wait for each other for ever would hold up all other tests.
LONGEST_SECONDS = 240
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]


@dataclass
class Run:
    """A recipe's run that has ended."""

    folder: Path
    status: int
    output: str
    errors: str

    @property
    def results(self):
        return json.loads((self.folder / "results.json").read_text())

    @property
    def row(self):
        [row] = self.results["rows"]
        return row

    @property
    def last_line(self):
        return self.errors.strip().splitlines()[-1]


def command(recipe, hparams, folder, *flags, launcher=(), **overrides):
    overrides["output_folder"] = folder
    return [
        sys.executable,
        *launcher,
        "train.py",
        # A file of the recipe's, or the path of another one.
        os.path.join("hparams", f"{hparams}.yaml"),
        *flags,
        *(f"--{key}={value}" for key, value in overrides.items()),
    ], {
        "cwd": recipe,
        "env": {**os.environ, "OMP_NUM_THREADS": "1"},
        "text": True,
    }


def run(recipe, hparams, folder, *flags, launcher=(), **overrides):
    arguments, options = command(
        recipe, hparams, folder, *flags, launcher=launcher, **overrides
    )
    # Files, not pipes: workers that outlive their launcher keep pipes open.
    with TemporaryFile("w+") as output, TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            arguments, stdout=output, stderr=errors, **options
        )
        try:
            process.wait(timeout=LONGEST_SECONDS)
        except subprocess.TimeoutExpired:
            _end_all_of(folder)
            process.wait()
        texts = []
        for file in (output, errors):
            file.seek(0)
            texts.append(file.read())
    return Run(Path(folder), process.returncode, *texts)


def _end_all_of(folder):
    """End the launcher and its workers, each in a session of its own."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            line = (entry / "cmdline").read_text()
        except OSError:
            continue  # it has ended meanwhile
        if f"--output_folder={folder}\0" in line:
            os.kill(int(entry.name), signal.SIGKILL)


def run_with_two_processes(recipe, hparams, folder, **overrides):
    """As torchrun does it, on the CPU.

    Processes that talk through gloo die now and then with SIGABRT when all
    is done ("terminate called without an active exception"): one more try.
    """
    flags = ("--device=cpu", "--distributed_backend=gloo")
    for _ in range(2):
        done = run(
            recipe, hparams, folder, *flags, launcher=TORCHRUN, **overrides
        )
        if "SIGABRT" not in done.errors:
            break
    return done


def finished(done):
    """The run, if it went well; otherwise what it said."""
    assert done.status == 0, (done.output + done.errors)[-3000:]
    return done


def is_finite(row):
    return all(
        math.isfinite(value)
        for value in row.values()
        if isinstance(value, int | float)
    )
