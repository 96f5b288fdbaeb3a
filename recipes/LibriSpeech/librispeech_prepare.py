"""Preparation of LibriSpeech, and of any corpus laid out like it.

Reads <data_folder>/<split>/<speaker>/<chapter>/*.flac and *.trans.txt and
writes manifests that SpeechBrain reads. Of the audio only headers are read.

Corpus: https://www.openslr.org/12
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from speechbrain.utils.logger import get_logger

from speechbrain_acom.errors import AudioError, ConfigurationError, DataError
from speechbrain_acom.manifests import (
    Omissions,
    probe_files,
    require_disjoint,
    require_folder,
    write_manifest,
)

logger = get_logger(__name__)

TRAIN_MANIFEST = "train"
RECORD_FILE = "librispeech_prepare.json"


@dataclass(frozen=True)
class Utterance:
    """One audio file with its transcript.

    Arguments
    ---------
    audio : Path
        The audio file; its name without the extension is the utterance's ID.
    speaker : str
        Name of the speaker's folder.
    words : str
        The transcript.
    """

    audio: Path
    speaker: str
    words: str


@dataclass(frozen=True)
class SplitFiles:
    """The files of one split, in the order of their paths.

    Arguments
    ---------
    audio : list[Path]
        The *.flac files.
    transcripts : list[Path]
        The *.trans.txt files.
    """

    audio: list[Path]
    transcripts: list[Path]

    def __len__(self) -> int:
        return len(self.audio) + len(self.transcripts)


def prepare_librispeech(
    data_folder: str,
    save_folder: str,
    train_splits: Sequence[str],
    dev_splits: Sequence[str],
    test_splits: Sequence[str],
    skip_prep: bool = False,
) -> None:
    """Write train.csv (all training splits) and one manifest a dev and test split.

    Columns: ID, duration (seconds), wav (below $data_root), spk_id, wrd.
    Audio that cannot be read, audio without a transcript, transcripts without
    audio and repeated IDs are named in the log, counted and left out. Nothing
    is done if the manifests are there, were made with the same settings from
    as many files, and nothing was left out.

    Arguments
    ---------
    data_folder : str
        Folder that holds the splits; it replaces $data_root in the manifests.
    save_folder : str
        Where the manifests go.
    train_splits : Sequence[str]
        Folders to merge into train.csv, e.g. train-clean-100.
    dev_splits : Sequence[str]
        Folders that get a manifest of their name, e.g. dev-clean.
    test_splits : Sequence[str]
        The same, e.g. test-clean and test-other.
    skip_prep : bool
        Whether to do nothing at all.

    Raises
    ------
    ConfigurationError
        If splits are not given as a list, or one is given twice.
    DataError
        If a folder is missing or a manifest would be empty.

    Example
    -------
    >>> prepare_librispeech("no/where", "save", ["train-clean-100"], [], [])
    Traceback (most recent call last):
    ...
    speechbrain_acom.errors.DataError: no/where: found no such folder, expected LibriSpeech's splits
    """
    if skip_prep:
        return
    splits_by_key = {
        "train_splits": train_splits,
        "dev_splits": dev_splits,
        "test_splits": test_splits,
    }
    _check_splits(splits_by_key)
    root, save = Path(data_folder), Path(save_folder)
    require_folder(root, "LibriSpeech's splits")
    manifests = {TRAIN_MANIFEST: list(train_splits)} if train_splits else {}
    manifests.update({split: [split] for split in (*dev_splits, *test_splits)})
    files = {
        split: _split_files(root / split)
        for splits in manifests.values()
        for split in splits
    }
    settings = {
        "data_folder": str(root.resolve()),
        "manifests": manifests,
        "files": {split: len(files[split]) for split in files},
    }
    if _up_to_date(save, settings):
        logger.info("%s: manifests are up to date", save)
        return
    omissions = Omissions()
    for name, splits in manifests.items():
        utterances = [
            utterance
            for split in splits
            for utterance in _utterances(files[split], omissions)
        ]
        rows = _rows(utterances, root, name, omissions)
        write_manifest(save / f"{name}.csv", rows)
    omissions.log(data_folder)
    record = {"settings": settings, "skipped": omissions.by_reason}
    (save / RECORD_FILE).write_text(json.dumps(record, indent=2))


def _check_splits(splits_by_key: dict[str, Sequence[str]]) -> None:
    for key, splits in splits_by_key.items():
        if isinstance(splits, str):
            raise ConfigurationError(
                key, splits, f"a list of folder names, as in [{splits}]"
            )
    require_disjoint(splits_by_key)


def _split_files(folder: Path) -> SplitFiles:
    require_folder(folder, "a split of LibriSpeech")
    files = SplitFiles(
        audio=sorted(folder.glob("*/*/*.flac")),
        transcripts=sorted(folder.glob("*/*/*.trans.txt")),
    )
    if not files.audio:
        raise DataError(
            f"{folder}: found no audio, expected <speaker>/<chapter>/*.flac"
        )
    return files


def _up_to_date(save: Path, settings: dict) -> bool:
    record_file = save / RECORD_FILE
    if not record_file.is_file():
        return False
    names = settings["manifests"]
    if not all((save / f"{name}.csv").is_file() for name in names):
        return False
    try:
        record = json.loads(record_file.read_text())
    except ValueError:
        return False
    return record == {"settings": settings, "skipped": {}}


def _utterances(files: SplitFiles, omissions: Omissions) -> Iterator[Utterance]:
    words = {}
    for path in files.transcripts:
        words.update(_transcripts(path, omissions))
    for audio in files.audio:
        transcript = words.pop(audio.with_suffix(""), "")
        if transcript:
            yield Utterance(audio, audio.parent.parent.name, transcript)
        else:
            omissions.add("audio without transcript", str(audio))
    for audio in words:
        omissions.add("transcript without audio", f"{audio}.flac")


def _transcripts(path: Path, omissions: Omissions) -> dict[Path, str]:
    """Transcripts of one chapter by the audio file's path less extension."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        omissions.add("unreadable transcripts", f"{path} ({error})")
        return {}
    words = {}
    for line in lines:
        name, *rest = line.split(maxsplit=1) or [""]
        if name:
            words[path.parent / name] = "".join(rest).strip()
    return words


def _rows(
    utterances: list[Utterance], root: Path, name: str, omissions: Omissions
) -> list[dict[str, object]]:
    paths = [utterance.audio for utterance in utterances]
    rows: dict[str, dict[str, object]] = {}
    for utterance, outcome in zip(
        utterances, probe_files(paths, name), strict=True
    ):
        identity = utterance.audio.stem
        if isinstance(outcome, AudioError):
            omissions.add("unreadable audio", str(outcome))
        elif identity in rows:
            omissions.add("repeated ID", str(utterance.audio))
        else:
            relative = utterance.audio.relative_to(root).as_posix()
            rows[identity] = {
                "ID": identity,
                "duration": f"{outcome.seconds:.4f}",
                "wav": f"$data_root/{relative}",
                "spk_id": utterance.speaker,
                "wrd": utterance.words,
            }
    return list(rows.values())
