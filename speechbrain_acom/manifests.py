"""Write the CSV manifests that SpeechBrain's data sets read.

What the preparation scripts of all recipes share: reading many headers at
once, naming and counting what had to be left out, and writing the table.
"""

import csv
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from speechbrain.utils.logger import get_logger
from speechbrain.utils.parallel import parallel_map

from speechbrain_acom.audio import AudioInfo, probe_audio
from speechbrain_acom.errors import AudioError, ConfigurationError, DataError

logger = get_logger(__name__)

# How many left-out items of a kind a log line names.
NAMED = 10


@dataclass
class Omissions:
    """What was left out of a manifest, by the reason.

    Arguments
    ---------
    by_reason : dict[str, list[str]]
        Names of the items that were left out, by reason.

    Example
    -------
    >>> omissions = Omissions()
    >>> omissions.add("audio without transcript", "a.flac")
    >>> len(omissions)
    1
    """

    by_reason: dict[str, list[str]] = field(default_factory=dict)

    def __len__(self) -> int:
        return sum(len(names) for names in self.by_reason.values())

    def add(self, reason: str, name: str) -> None:
        """Note one item.

        Arguments
        ---------
        reason : str
            Why it was left out, in words that fit many items.
        name : str
            Which item.
        """
        self.by_reason.setdefault(reason, []).append(name)

    def log(self, manifests: str) -> None:
        """Warn once for each reason, with the count and the first names.

        Arguments
        ---------
        manifests : str
            What the items were left out of.
        """
        for reason, names in self.by_reason.items():
            shown = "; ".join(names[:NAMED])
            rest = len(names) - NAMED
            logger.warning(
                "%s: skipped %d item(s), %s: %s%s",
                manifests,
                len(names),
                reason,
                shown,
                f" and {rest} more" if rest > 0 else "",
            )


def require_folder(folder: Path, expected: str) -> None:
    """Raise if a folder is missing.

    Arguments
    ---------
    folder : Path
        The folder that has to be there.
    expected : str
        What it should hold, for the message.

    Raises
    ------
    DataError
        If it is missing or no folder.

    Example
    -------
    >>> require_folder(Path("no/where"), "the LibriSpeech corpus")
    Traceback (most recent call last):
    ...
    speechbrain_acom.errors.DataError: no/where: found no such folder, expected the LibriSpeech corpus
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: found no such folder, expected {expected}")


def require_disjoint(parts: Mapping[str, Sequence]) -> None:
    """Raise if two parts of a corpus share an element.

    Arguments
    ---------
    parts : Mapping[str, Sequence]
        Elements (folds, splits) of each part, by hyperparameter.

    Raises
    ------
    ConfigurationError
        Naming the later of the two hyperparameters.

    Example
    -------
    >>> require_disjoint({"train_folds": [1, 2], "test_folds": [2]})
    Traceback (most recent call last):
    ...
    speechbrain_acom.errors.ConfigurationError: test_folds: found 2, expected nothing that is in train_folds already
    """
    owner: dict[object, str] = {}
    for key, elements in parts.items():
        for element in elements:
            if element in owner:
                raise ConfigurationError(
                    key,
                    element,
                    f"nothing that is in {owner[element]} already",
                )
            owner[element] = key


def probe_files(
    paths: Sequence[Path], description: str
) -> Iterator[AudioInfo | AudioError]:
    """Read the headers of many audio files, several at a time.

    Arguments
    ---------
    paths : Sequence[Path]
        The audio files.
    description : str
        Stands before the progress bar.

    Yields
    ------
    AudioInfo | AudioError
        What the header says, or what is wrong with the file, in the order of
        ``paths``.

    Example
    -------
    >>> [outcome] = probe_files([Path("missing.wav")], "test")
    >>> print(outcome)
    missing.wav: found no such file, expected an audio file
    """
    # Threads: the work is waiting for the disk, and libsndfile runs without
    # Python's lock.
    with ThreadPoolExecutor() as executor:
        yield from parallel_map(
            _probe,
            paths,
            chunk_size=32,
            executor=executor,
            progress_bar_kwargs={"desc": description, "unit": "file"},
        )


def _probe(path: Path) -> AudioInfo | AudioError:
    try:
        return probe_audio(path)
    except AudioError as error:
        return error


def write_manifest(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Write a manifest, replacing an older one in a single step.

    Arguments
    ---------
    path : Path
        The CSV file; its folder is made if needed.
    rows : Sequence[Mapping[str, object]]
        One mapping from column to value for each example, all with the same
        columns; ``ID`` is one of them.

    Raises
    ------
    DataError
        If there are no rows.

    Example
    -------
    >>> path = getfixture("tmp_path") / "train.csv"
    >>> write_manifest(path, [{"ID": "a", "wav": "$data_root/a.wav"}])
    >>> path.read_text().split()
    ['ID,wav', 'a,$data_root/a.wav']
    """
    if not rows:
        raise DataError(f"{path}: found nothing usable, expected an example")
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.unfinished")
    with open(unfinished, "w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    os.replace(unfinished, path)
    logger.info("%s: %d examples", path, len(rows))
