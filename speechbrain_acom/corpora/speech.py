"""A machine-made speech corpus in the layout of LibriSpeech.

Voices of espeak-ng say digit strings and short commands; noise and a small
synthetic room are added to most utterances. Nobody ever spoke any of it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from scipy.signal import resample_poly
from tqdm import tqdm

from speechbrain_acom.corpora.acoustics import (
    add_noise,
    at_peak,
    coloured_noise,
    in_room,
)
from speechbrain_acom.corpora.espeak import EspeakProcess, Voice, espeak_paths
from speechbrain_acom.corpora.folder import CorpusFolder, MadeCorpus
from speechbrain_acom.errors import ConfigurationError

SAMPLE_RATE = 16000
SECONDS = (1.0, 4.0)
UTTERANCES_PER_CHAPTER = 50

ACCENTS = (
    "en-us",
    "en",
    "en-gb-scotland",
    "en-029",
    "en-gb-x-rp",
    "en-us-nyc",
    "en-gb-x-gbclan",
    "en-gb-x-gbcwmd",
)
# Variants of espeak-ng that are neither whispered, robotic nor echoing; no
# variant stands in two splits. Each training variant speaks two accents.
TRAIN_VARIANTS = (
    *("m1", "f1", "m4", "f3", "m5", "anika", "m8", "belinda", "Alex"),
    *("steph", "Denis", "aunty", "Mario", "shelby", "Mike", "Nguyen"),
    *("antonio", "paul", "robert", "max", "pedro", "Gene"),
)
DEV_VARIANTS = ("m6", "linda", "Michael", "grandma")
TEST_VARIANTS = ("m3", "f5", "m7", "Annie", "Andy", "Andrea")

DIGITS = (
    *("ZERO", "ONE", "TWO", "THREE", "FOUR"),
    *("FIVE", "SIX", "SEVEN", "EIGHT", "NINE"),
)
ROOMS = ("KITCHEN", "BEDROOM", "GARDEN", "OFFICE", "HALL")
# "{switch}" and the like stand for one word of the list of that name.
COMMANDS = (
    "TURN THE {room} {device} {switch}",
    "TURN {switch} THE {device}",
    "{move} THE {room} {opening}",
    "{move} THE {opening} IN THE {room}",
    "SET THE {room} HEATER AT {digit}",
    "SET THE ALARM AT {digit} {digit}",
    "{control} THE MUSIC IN THE {room}",
)
WORDS = {
    "room": ROOMS,
    "device": ("LIGHT", "FAN", "RADIO", "HEATER"),
    "switch": ("ON", "OFF"),
    "move": ("OPEN", "CLOSE"),
    "opening": ("DOOR", "WINDOW"),
    "control": ("PLAY", "STOP"),
    "digit": DIGITS,
}

README = """\
Machine-made (synthetic) speech in the layout of LibriSpeech
============================================================
Not LibriSpeech and no recording of anybody: the voices are those of the
espeak-ng synthesizer, saying digit strings and short commands. Noise and
room are synthetic, too. A "speaker" is a voice variant with an accent, a
pitch and a speed; no variant stands in two of the three splits.
Made by speechbrain_acom; corpus.json holds the settings.

speaker split voice
{speakers}
"""


@dataclass(frozen=True)
class Speaker:
    """A machine-made speaker: a voice variant, an accent and a pitch.

    Arguments
    ---------
    identifier : int
        Number of the speaker, unique over all splits.
    split : str
        "train", "dev" or "test".
    voice : str
        Accent and variant as espeak-ng names them.
    """

    identifier: int
    split: str
    voice: str


@dataclass(frozen=True)
class Utterance:
    """One utterance before it is written.

    Arguments
    ---------
    samples : np.ndarray
        16 kHz, shape (samples,).
    words : str
        What is said, upper case.
    """

    samples: np.ndarray
    words: str

    @property
    def seconds(self) -> float:
        """Duration in seconds."""
        return len(self.samples) / SAMPLE_RATE


def speakers(split: str) -> list[Speaker]:
    """List the speakers of one split.

    Arguments
    ---------
    split : str
        "train", "dev" or "test".

    Returns
    -------
    list[Speaker]
        44 speakers to train on, 4 of dev, 6 of test.

    Example
    -------
    >>> [len(speakers(split)) for split in ("train", "dev", "test")]
    [44, 4, 6]
    >>> speakers("test")[0]
    Speaker(identifier=301, split='test', voice='en-us+m3')
    """
    first, variants = {
        # The second half meets other accents than the first: 22 % 8 != 0.
        "train": (101, TRAIN_VARIANTS + TRAIN_VARIANTS),
        "dev": (201, DEV_VARIANTS),
        "test": (301, TEST_VARIANTS),
    }[split]
    return [
        Speaker(first + index, split, f"{ACCENTS[index % 8]}+{variant}")
        for index, variant in enumerate(variants)
    ]


def vocabulary() -> list[str]:
    """All words that the corpus can hold.

    Returns
    -------
    list[str]
        Sorted, upper case.

    Example
    -------
    >>> len(vocabulary())
    34
    """
    fixed = " ".join(COMMANDS).split()
    words = {word for word in fixed if not word.startswith("{")}
    return sorted(words.union(*WORDS.values()))


def random_words(rng: np.random.Generator) -> str:
    """Draw what an utterance says.

    Arguments
    ---------
    rng : np.random.Generator
        Source of all randomness.

    Returns
    -------
    str
        2 to 6 digits or, as often, a command.

    Example
    -------
    >>> random_words(np.random.default_rng(1))
    'SET THE ALARM AT NINE ZERO'
    """
    if rng.random() < 0.5:
        pattern = ["{digit}"] * int(rng.integers(2, 7))
    else:
        pattern = COMMANDS[rng.integers(len(COMMANDS))].split()
    return " ".join(
        str(rng.choice(WORDS[word[1:-1]])) if word.startswith("{") else word
        for word in pattern
    )


def make_speech_corpus(
    folder: str | Path,
    seed: int = 0,
    minutes: float = 60.0,
    dev_utterances: int = 100,
    test_utterances: int = 200,
    progress: bool = False,
) -> MadeCorpus:
    """Make the machine-made speech corpus, unless it is there already.

    Utterances last 1 to 4 s and are 16 kHz mono FLAC files in the layout of
    LibriSpeech (Panayotov et al., 2015): ``train-synthetic``,
    ``dev-synthetic`` and ``test-synthetic``, speaker, chapter. The dev and
    the test utterances do not depend on ``minutes``.

    Arguments
    ---------
    folder : str | Path
        Where to write; empty, absent, or holding this corpus.
    seed : int
        The same seed and sizes give the same samples.
    minutes : float
        Audio to train on.
    dev_utterances : int
        Number of utterances of the dev split.
    test_utterances : int
        Number of utterances of the test split.
    progress : bool
        Whether to show a progress bar.

    Returns
    -------
    MadeCorpus
        Folder, number of utterances and duration over all splits.

    Raises
    ------
    ConfigurationError
        If a size is not positive, or the seed is negative.
    DataError
        If the folder holds other things.
    ImportError
        If espeak-ng is not installed.

    Example
    -------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     try:
    ...         made = make_speech_corpus(folder, 0, 0.05, 1, 1)
    ...     except ImportError:  # the extra "corpus" is not installed
    ...         made = None
    >>> made is None or made.clips >= 3
    True
    """
    if seed < 0:
        raise ConfigurationError("seed", seed, "an integer from 0 on")
    settings = {
        "minutes": minutes,
        "dev_utterances": dev_utterances,
        "test_utterances": test_utterances,
    }
    for key, value in settings.items():
        if not value > 0:
            raise ConfigurationError(key, value, "a number above 0")
    settings["seed"] = seed
    espeak_paths()
    sizes = {"test": test_utterances, "dev": dev_utterances}
    names = [f"{split}-synthetic" for split in ("train", *sizes)]
    corpus = CorpusFolder(folder, "speech", settings, names)
    there = corpus.finished()
    if there is not None:
        return there
    corpus.begin(_readme())
    clips, seconds = 0, 0.0
    total = minutes * 60 + 2.3 * sum(sizes.values())
    with tqdm(
        total=round(total), unit="s", desc="speech", disable=not progress
    ) as bar:
        for split in ("train", *sizes):
            enough = (
                _until_seconds(minutes * 60)
                if split == "train"
                else _until_count(sizes[split])
            )
            for speaker, number, utterance in _utterances(split, seed, enough):
                _write(corpus.path, speaker, number, utterance)
                clips += 1
                seconds += utterance.seconds
                bar.update(round(seconds) - bar.n)
    return corpus.finish(clips, seconds)


# Whether a speaker has said enough: (share of the speakers that have spoken
# once this one has, utterances so far, seconds so far) -> bool.
Enough = Callable[[float, int, float], bool]


def _until_seconds(target: float) -> Enough:
    return lambda share, clips, seconds: seconds >= share * target


def _until_count(target: int) -> Enough:
    return lambda share, clips, seconds: clips >= round(share * target)


def _utterances(
    split: str, seed: int, enough: Enough
) -> Iterator[tuple[Speaker, int, Utterance]]:
    """Let one speaker after the other speak his share."""
    clips, seconds = 0, 0.0
    everybody = speakers(split)
    for index, speaker in enumerate(everybody):
        share = (index + 1) / len(everybody)
        if enough(share, clips, seconds):
            continue
        rng = np.random.default_rng([seed, speaker.identifier])
        with EspeakProcess(_voice(speaker, rng)) as espeak:
            number = 0
            while not enough(share, clips, seconds):
                utterance = _speak(espeak, rng)
                yield speaker, number, utterance
                number += 1
                clips += 1
                seconds += utterance.seconds


def _voice(speaker: Speaker, rng: np.random.Generator) -> Voice:
    """Draw the pitch and the speed that a speaker keeps."""
    return Voice(
        speaker.voice,
        rate=int(rng.integers(95, 146)),
        pitch=int(rng.integers(35, 66)),
        range=int(rng.integers(35, 71)),
    )


def _speak(espeak: EspeakProcess, rng: np.random.Generator) -> Utterance:
    """Synthesize one utterance and let it sound as in a room."""
    words = random_words(rng)
    speech = espeak.say(words.lower())
    speech = resample_poly(speech, SAMPLE_RATE, espeak.sample_rate)
    before, after = (rng.uniform(0.1, 0.3, 2) * SAMPLE_RATE).astype(int)
    shortest, longest = (round(limit * SAMPLE_RATE) for limit in SECONDS)
    after = max(after, shortest - before - len(speech))
    samples = np.pad(speech, (before, after))[:longest]
    if rng.random() < 0.7:
        samples = in_room(rng, samples, SAMPLE_RATE)
    if rng.random() < 0.85:
        noise = coloured_noise(rng, len(samples), SAMPLE_RATE)
        samples = add_noise(samples, noise, rng.uniform(10.0, 30.0))
    return Utterance(at_peak(rng, samples, (-15.0, -1.0)), words)


def _write(
    folder: Path, speaker: Speaker, number: int, utterance: Utterance
) -> None:
    """Write one utterance and its line of the transcript."""
    name = speaker.identifier
    chapter = 1 + number // UTTERANCES_PER_CHAPTER
    place = folder / f"{speaker.split}-synthetic" / str(name) / str(chapter)
    place.mkdir(parents=True, exist_ok=True)
    identifier = f"{name}-{chapter}-{number % UTTERANCES_PER_CHAPTER:04d}"
    soundfile.write(
        place / f"{identifier}.flac",
        utterance.samples,
        SAMPLE_RATE,
        subtype="PCM_16",
    )
    transcript = place / f"{name}-{chapter}.trans.txt"
    with transcript.open("a", encoding="utf-8") as lines:
        lines.write(f"{identifier} {utterance.words}\n")


def _readme() -> str:
    """The text that lies in the corpus's folder."""
    table = "\n".join(
        f"{speaker.identifier} {speaker.split} {speaker.voice}"
        for split in ("train", "dev", "test")
        for speaker in speakers(split)
    )
    return README.format(speakers=table)
