"""Preparation of UrbanSound8K, and of any corpus laid out like it.

Reads <data_folder>/metadata/UrbanSound8K.csv and the headers of
<data_folder>/audio/fold<number>/*.wav and writes manifests that SpeechBrain
reads. The folds are the unit of every split: clips of one recording are all
in one fold, so that clips must not be shuffled across folds.

Corpus: https://urbansounddataset.weebly.com/urbansound8k.html
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from speechbrain_acom.errors import AudioError, ConfigurationError, DataError
from speechbrain_acom.manifests import (
    Omissions,
    probe_files,
    require_disjoint,
    require_folder,
    write_manifest,
)

METADATA = Path("metadata", "UrbanSound8K.csv")
COLUMNS = ("slice_file_name", "fsID", "fold", "classID", "class")
NUMBERS = ("fold", "classID")


@dataclass(frozen=True)
class Clip:
    """One row of the metadata.

    Arguments
    ---------
    audio : Path
        The audio file; its name without the extension is the clip's ID.
    fold : int
        Number of its fold.
    recording : str
        Freesound's number of the recording that the clip was cut from.
    class_id : int
        Number of its class.
    class_name : str
        Name of its class.
    """

    audio: Path
    fold: int
    recording: str
    class_id: int
    class_name: str


def prepare_urbansound8k(
    data_folder: str,
    save_folder: str,
    train_folds: Sequence[int],
    valid_folds: Sequence[int],
    test_folds: Sequence[int],
    skip_prep: bool = False,
) -> None:
    """Write train.csv, valid.csv and test.csv from the folds given.

    Columns: ID, duration (seconds), wav (below $data_root), fold, fs_id
    (the recording), class_id, class_name. Clips whose file is missing or
    cannot be read, and files that the metadata does not list, are named in
    the log, counted and left out. Other folds need not be there.

    Arguments
    ---------
    data_folder : str
        Folder that holds audio and metadata; it replaces $data_root in the
        manifests.
    save_folder : str
        Where the manifests go.
    train_folds : Sequence[int]
        Folds to train on, from 1 to 10.
    valid_folds : Sequence[int]
        Folds to choose the best checkpoint on.
    test_folds : Sequence[int]
        Folds to report on.
    skip_prep : bool
        Whether to do nothing at all.

    Raises
    ------
    ConfigurationError
        If folds are not a list of numbers, or one is given twice.
    DataError
        If a folder, the metadata or one of its columns is missing, or a
        manifest would be empty.

    Example
    -------
    >>> prepare_urbansound8k("no/where", "save", [1], [2], [3])
    Traceback (most recent call last):
    ...
    speechbrain_acom.errors.DataError: no/where: found no such folder, expected UrbanSound8K's audio and metadata
    """
    if skip_prep:
        return
    folds_by_key = {
        "train_folds": train_folds,
        "valid_folds": valid_folds,
        "test_folds": test_folds,
    }
    _check_folds(folds_by_key)
    root, save = Path(data_folder), Path(save_folder)
    require_folder(root, "UrbanSound8K's audio and metadata")
    folds = [fold for chosen in folds_by_key.values() for fold in chosen]
    for fold in folds:
        require_folder(_fold_folder(root, fold), "a fold of UrbanSound8K")
    omissions = Omissions()
    clips = _read_metadata(root, omissions)
    _note_unlisted_files(root, folds, clips, omissions)
    for key, chosen in folds_by_key.items():
        name = key.removesuffix("_folds")
        part = [clip for clip in clips if clip.fold in chosen]
        rows = _rows(part, root, name, omissions)
        write_manifest(save / f"{name}.csv", rows)
    omissions.log(data_folder)


def _check_folds(folds_by_key: dict[str, Sequence[int]]) -> None:
    for key, folds in folds_by_key.items():
        is_list = isinstance(folds, list | tuple) and len(folds) > 0
        if not is_list or not all(isinstance(fold, int) for fold in folds):
            raise ConfigurationError(
                key, folds, "a list of fold numbers, as in [1, 2]"
            )
    require_disjoint(folds_by_key)


def _fold_folder(root: Path, fold: int) -> Path:
    return root / "audio" / f"fold{fold}"


def _read_metadata(root: Path, omissions: Omissions) -> list[Clip]:
    path = root / METADATA
    if not path.is_file():
        raise DataError(f"{path}: found no such file, expected the metadata")
    clips: dict[str, Clip] = {}
    with open(path, newline="", encoding="utf-8", errors="replace") as handle:
        reader = csv.DictReader(handle)
        missing = [
            column
            for column in COLUMNS
            if column not in (reader.fieldnames or [])
        ]
        if missing:
            raise DataError(
                f"{path}: found no column {', '.join(missing)}, expected "
                f"{', '.join(COLUMNS)}"
            )
        for row in reader:
            clip = _clip(root, row, f"{path}, line {reader.line_num}")
            if clip.audio.stem in clips:
                omissions.add("clip listed twice", clip.audio.name)
            else:
                clips[clip.audio.stem] = clip
    return list(clips.values())


def _clip(root: Path, row: dict[str, str], place: str) -> Clip:
    for column in COLUMNS:
        value = row[column] or ""
        if not (value.isdecimal() if column in NUMBERS else value):
            expected = "a number" if column in NUMBERS else "a name"
            raise DataError(
                f"{place}: found {value!r} as {column}, expected {expected}"
            )
    fold = int(row["fold"])
    return Clip(
        audio=_fold_folder(root, fold) / row["slice_file_name"],
        fold=fold,
        recording=row["fsID"],
        class_id=int(row["classID"]),
        class_name=row["class"],
    )


def _note_unlisted_files(
    root: Path, folds: list[int], clips: list[Clip], omissions: Omissions
) -> None:
    listed = {clip.audio for clip in clips}
    for fold in folds:
        for path in sorted(_fold_folder(root, fold).glob("*.wav")):
            if path not in listed:
                omissions.add("file not in the metadata", str(path))


def _rows(
    clips: list[Clip], root: Path, name: str, omissions: Omissions
) -> list[dict[str, object]]:
    present = []
    for clip in clips:
        if clip.audio.is_file():
            present.append(clip)
        else:
            omissions.add("missing file", str(clip.audio))
    outcomes = probe_files([clip.audio for clip in present], name)
    rows = []
    for clip, outcome in zip(present, outcomes, strict=True):
        if isinstance(outcome, AudioError):
            omissions.add("unreadable audio", str(outcome))
            continue
        relative = clip.audio.relative_to(root).as_posix()
        rows.append(
            {
                "ID": clip.audio.stem,
                "duration": f"{outcome.seconds:.4f}",
                "wav": f"$data_root/{relative}",
                "fold": clip.fold,
                "fs_id": clip.recording,
                "class_id": clip.class_id,
                "class_name": clip.class_name,
            }
        )
    return rows
