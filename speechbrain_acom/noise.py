"""Test sets once more, with noise and in rooms.

A coded front end must not be worse in noise than the continuous one, so both
are tested on the same mixtures: an utterance always meets the same stretch of
the same recording, whatever the model.
"""

import csv
import json
import math
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import soundfile
import torch
from torch import Tensor
from torchaudio.functional import add_noise, fftconvolve
from tqdm import tqdm

from speechbrain_acom.audio import load_audio
from speechbrain_acom.errors import AudioError, ConfigurationError, DataError
from speechbrain_acom.manifests import write_manifest
from speechbrain_acom.storage import file_checksum, writing_into
from speechbrain_acom.suffixes import AUDIO_SUFFIXES, files_below

RECORD = "noise.json"
# Stretches of silence in a row before a folder of noises is given up.
_MOST_SILENT = 100


@dataclass(frozen=True)
class NoisyTests:
    """What the test sets are tested with, besides as they are.

    Arguments
    ---------
    noises : str
        Folder of recordings of noise, at any depth, of any kind and length;
        empty: none.
    snrs : Sequence[float]
        Signal to noise in dB, over the whole utterance; a test each.
    rooms : str
        Folder of impulse responses of rooms, at any depth; a test more.
        Empty: none.
    seed : int
        Of the choice of noises and rooms.

    Raises
    ------
    ConfigurationError
        If a folder has no audio, or a ratio is no number.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> soundfile.write(folder / "hum.wav", [0.1, -0.1] * 4000, 16000)
    >>> noisy = NoisyTests(str(folder), snrs=[20, 0])
    >>> noisy.names
    ['20dB', '0dB']
    >>> noisy.changed(torch.ones(8), "utterance", "0dB", 16000).std() > 0
    tensor(True)
    """

    noises: str = ""
    snrs: Sequence[float] = (20, 10, 5, 0)
    rooms: str = ""
    seed: int = 0

    def __post_init__(self) -> None:
        ratios = self.snrs if isinstance(self.snrs, list | tuple) else [None]
        for snr in ratios:
            number = isinstance(snr, int | float) and math.isfinite(snr)
            if not number or isinstance(snr, bool):
                raise ConfigurationError(
                    "noise.snrs", self.snrs, "a list of numbers, in dB"
                )
        for key in ("noises", "rooms"):
            if getattr(self, key) and not getattr(self, f"_{key}"):
                raise ConfigurationError(
                    f"noise.{key}", getattr(self, key), "a folder with audio"
                )

    @property
    def names(self) -> list[str]:
        """A name for every test: "20dB", ..., "room"."""
        names = [f"{snr:g}dB" for snr in self.snrs] if self.noises else []
        return [*names, "room"] if self.rooms else names

    def changed(
        self, signal: Tensor, utterance: str, name: str, sample_rate: int
    ) -> Tensor:
        """A signal as it is in one of the tests.

        Arguments
        ---------
        signal : Tensor
            Mono, shape (time,).
        utterance : str
            Its ID, from which noise and room follow.
        name : str
            One of :attr:`names`.
        sample_rate : int
            In Hz.

        Returns
        -------
        Tensor
            Shape (time,), at most 1 in size. Silence stays as it is: nothing
            has a ratio to it.

        Raises
        ------
        AudioError
            If the noise or the room cannot be read.
        DataError
            If noises are silent.
        """
        chooser = random.Random(f"{self.seed} {utterance}")
        if not signal.any():
            return signal
        if name == "room":
            mixed = self._in_room(signal, chooser, sample_rate)
        else:
            noise = self._noise(len(signal), chooser, sample_rate)
            snr = dict(zip(self.names, self.snrs, strict=False))[name]
            mixed = add_noise(signal, noise, torch.tensor(float(snr)))
        return mixed / mixed.abs().max().clamp(min=1.0)

    @cached_property
    def _noises(self) -> list[Path]:
        return files_below(self.noises, AUDIO_SUFFIXES)

    @cached_property
    def _rooms(self) -> list[Path]:
        return files_below(self.rooms, AUDIO_SUFFIXES)

    def _noise(
        self, length: int, chooser: random.Random, sample_rate: int
    ) -> Tensor:
        """A stretch of noise that is not silent, repeated where too short."""
        for _ in range(_MOST_SILENT):
            noise = load_audio(chooser.choice(self._noises), sample_rate)
            start = chooser.randrange(len(noise))
            noise = noise.roll(-start).repeat(-(-length // len(noise)))[:length]
            if noise.any():
                return noise
        raise DataError(
            f"{self.noises}: found silence {_MOST_SILENT} times, expected noise"
        )

    def _in_room(
        self, signal: Tensor, chooser: random.Random, sample_rate: int
    ) -> Tensor:
        """The signal as it is heard in a room, as loud and not later."""
        response = load_audio(chooser.choice(self._rooms), sample_rate)
        heard = fftconvolve(signal, response)
        # The direct sound is the loudest.
        heard = heard[int(response.abs().argmax()) :][: len(signal)]
        return heard * (signal.norm() / heard.norm().clamp(min=1e-12))


def noisy_name(test_set: str, name: str) -> str:
    """What a test set is called with one of :attr:`NoisyTests.names`."""
    return f"{test_set}_{name}"


def write_noisy(
    noisy: NoisyTests,
    manifest: Path,
    data_root: str,
    folder: Path,
    sample_rate: int,
) -> None:
    """Write a test set once more for every test of it.

    What the same settings have written stays. A file that cannot be read stays where it is
    in the manifest: the test leaves it out, as it does without noise.

    Arguments
    ---------
    noisy : NoisyTests
        What to test with.
    manifest : Path
        Of the test set; the others are written beside it.
    data_root : str
        Stands in for ``$data_root`` in it.
    folder : Path
        Where the audio goes, 16-bit FLAC.
    sample_rate : int
        In Hz.

    Raises
    ------
    DataError
        If noises are silent, or the disk is full.
    AudioError
        If a noise cannot be read.
    """
    with open(manifest, newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    for name in noisy.names:
        target = manifest.with_stem(noisy_name(manifest.stem, name))
        place = folder / target.stem
        record = place / RECORD
        settings = json.dumps(
            {
                **asdict(noisy),
                "manifest": file_checksum(manifest),
                "sample_rate": sample_rate,
            }
        )
        known = record.is_file() and record.read_text() == settings
        if known and target.is_file():
            continue
        place.mkdir(parents=True, exist_ok=True)
        changed = []
        for row in tqdm(rows, desc=target.stem, unit="file"):
            source = row["wav"].replace("$data_root", data_root)
            try:
                signal = load_audio(source, sample_rate)
            except AudioError:
                changed.append(row)
                continue
            mixed = noisy.changed(signal, row["ID"], name, sample_rate)
            path = place / f"{row['ID']}.flac"
            with writing_into(place):
                soundfile.write(path, mixed.numpy(), sample_rate, "PCM_16")
            changed.append({**row, "wav": str(path.resolve())})
        write_manifest(target, changed)
        record.write_text(settings)
