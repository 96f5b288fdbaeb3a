"""A machine-made corpus of sounds in the layout of UrbanSound8K."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from tqdm import tqdm

from speechbrain_acom.corpora.acoustics import (
    add_noise,
    at_peak,
    coloured_noise,
)
from speechbrain_acom.corpora.folder import CorpusFolder, MadeCorpus
from speechbrain_acom.corpora.sound_classes import (
    SOUND_CLASSES,
    Source,
    random_source,
    render,
)
from speechbrain_acom.errors import ConfigurationError

FOLDS = 10
SAMPLE_RATE = 16000
OTHER_SAMPLE_RATE = 44100
SLICE_SECONDS = 4.0
SNR_DB = (-3.0, 15.0)
MOST_SLICES_OF_A_SOURCE = 4
FIRST_SOURCE = 100001
COLUMNS = (
    *("slice_file_name", "fsID", "start", "end"),
    *("salience", "fold", "classID", "class"),
)

README = """\
Machine-made (synthetic) sounds in the layout of UrbanSound8K
=============================================================
Not UrbanSound8K and no recordings: ten synthetic sound classes with random
parameters in coloured noise. All clips of one fsID (one set of source
parameters) lie in one fold.
Made by speechbrain_acom; corpus.json holds the settings.
"""


@dataclass(frozen=True)
class Slice:
    """One clip: a stretch of a source that sounds for ever.

    Arguments
    ---------
    source : Source
        Parameters that all slices of the source share.
    identifier : int
        Number of the source, UrbanSound8K's fsID.
    number : int
        Number of the slice within its source, from 0 on.
    fold : int
        1 to 10.
    class_number : int
        Position of the class in ``SOUND_CLASSES``.
    """

    source: Source
    identifier: int
    number: int
    fold: int
    class_number: int

    @property
    def file_name(self) -> str:
        """File name as in UrbanSound8K: source-class-occurrence-slice."""
        return f"{self.identifier}-{self.class_number}-0-{self.number}.wav"


@dataclass(frozen=True)
class Clip:
    """A rendered slice.

    Arguments
    ---------
    samples : np.ndarray
        Shape (samples,) or (samples, 2), within [-1, 1].
    sample_rate : int
        Samples per second.
    snr_db : float
        Sound over background, in decibels.
    """

    samples: np.ndarray
    sample_rate: int
    snr_db: float

    @property
    def seconds(self) -> float:
        """Duration in seconds."""
        return len(self.samples) / self.sample_rate


def make_sound_corpus(
    folder: str | Path,
    seed: int = 0,
    clips: int = 1500,
    progress: bool = False,
) -> MadeCorpus:
    """Make the machine-made corpus of sounds, unless it is there already.

    Clips last 4 s (a tenth of them 1 to 4 s) and are 16-bit WAV files, 16 kHz
    mono (a fiftieth 44.1 kHz stereo), in the layout of UrbanSound8K (Salamon
    et al., 2014): ``audio/fold1`` to ``audio/fold10`` and
    ``metadata/UrbanSound8K.csv``. Folds and classes are balanced.

    Arguments
    ---------
    folder : str | Path
        Where to write; empty, absent, or holding this corpus.
    seed : int
        The same seed and number of clips give the same samples.
    clips : int
        Number of clips in all folds together, at least 10.
    progress : bool
        Whether to show a progress bar.

    Returns
    -------
    MadeCorpus
        Folder, number of clips and duration.

    Raises
    ------
    ConfigurationError
        If there are fewer clips than folds, or the seed is negative.
    DataError
        If the folder holds other things.

    Example
    -------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     make_sound_corpus(folder, clips=10).clips
    10
    """
    if clips < FOLDS:
        raise ConfigurationError("clips", clips, f"an integer from {FOLDS} on")
    if seed < 0:
        raise ConfigurationError("seed", seed, "an integer from 0 on")
    settings = {"seed": seed, "clips": clips}
    corpus = CorpusFolder(folder, "sounds", settings, ["audio", "metadata"])
    there = corpus.finished()
    if there is not None:
        return there
    corpus.begin(README)
    for fold in range(1, FOLDS + 1):
        (corpus.path / "audio" / f"fold{fold}").mkdir(parents=True)
    table = corpus.path / "metadata" / "UrbanSound8K.csv"
    table.parent.mkdir()
    seconds = 0.0
    with table.open("w", newline="", encoding="utf-8") as lines:
        writer = csv.writer(lines, lineterminator="\n")
        writer.writerow(COLUMNS)
        for piece in tqdm(
            _slices(seed, clips),
            total=clips,
            unit="clip",
            desc="sounds",
            disable=not progress,
        ):
            clip = _render(piece, seed)
            place = corpus.path / "audio" / f"fold{piece.fold}"
            soundfile.write(
                place / piece.file_name,
                clip.samples,
                clip.sample_rate,
                subtype="PCM_16",
            )
            writer.writerow(_row(piece, clip))
            seconds += clip.seconds
    return corpus.finish(clips, seconds)


def _slices(seed: int, clips: int) -> Iterator[Slice]:
    """Share the clips out to folds, classes and sources."""
    rng = np.random.default_rng(seed)
    identifier = FIRST_SOURCE
    for fold in range(1, FOLDS + 1):
        in_fold = clips // FOLDS + (fold <= clips % FOLDS)
        for class_number in range(len(SOUND_CLASSES)):
            # An odd clip goes to another class in every fold.
            turn = (class_number - fold) % len(SOUND_CLASSES)
            missing = in_fold // len(SOUND_CLASSES)
            missing += turn < in_fold % len(SOUND_CLASSES)
            while missing:
                source = random_source(rng)
                most = min(missing, MOST_SLICES_OF_A_SOURCE)
                count = int(rng.integers(1, most + 1))
                for number in range(count):
                    yield Slice(source, identifier, number, fold, class_number)
                missing -= count
                identifier += 1


def _render(piece: Slice, seed: int) -> Clip:
    """Render a slice in coloured noise."""
    rng = np.random.default_rng([seed, piece.identifier, piece.number])
    shorter = rng.random() < 0.1
    stereo = rng.random() < 0.02
    seconds = rng.uniform(1.0, SLICE_SECONDS) if shorter else SLICE_SECONDS
    sample_rate = OTHER_SAMPLE_RATE if stereo else SAMPLE_RATE
    samples = int(seconds * sample_rate)
    sound = render(
        SOUND_CLASSES[piece.class_number],
        piece.source,
        samples,
        sample_rate,
        rng,
    )
    snr_db = float(rng.uniform(*SNR_DB))
    channels = [
        add_noise(sound, coloured_noise(rng, samples, sample_rate), snr_db)
        for _ in range(1 + stereo)
    ]
    mixed = np.stack(channels, axis=1) if stereo else channels[0]
    return Clip(at_peak(rng, mixed, (-15.0, -1.0)), sample_rate, snr_db)


def _row(piece: Slice, clip: Clip) -> tuple[object, ...]:
    """The slice's row of the table, in the order of COLUMNS.

    Salience is 1 for the foreground and 2 for the background, as in
    UrbanSound8K; here it is told from the SNR.
    """
    start = piece.number * SLICE_SECONDS
    return (
        piece.file_name,
        piece.identifier,
        f"{start:.6f}",
        f"{start + clip.seconds:.6f}",
        1 if clip.snr_db >= sum(SNR_DB) / 2 else 2,
        piece.fold,
        piece.class_number,
        SOUND_CLASSES[piece.class_number].name,
    )
