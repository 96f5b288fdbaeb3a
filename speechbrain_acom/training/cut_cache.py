"""Features at the cut on disk: shards of frames, an index, checksums.

A folder holds ``frames_0000.npy``, ``frames_0001.npy``, ..., each float32,
shape (frame, channel), some utterances after one another, and ``index.json``. It
gets its name when all of it is written.
"""

import json
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from speechbrain_acom.errors import AudioError, DataError
from speechbrain_acom.storage import file_checksum, writing_into

INDEX = "index.json"
SHARD_BYTES = 1 << 28
_OURS = re.compile(r"index\.json|frames_\d+\.npy")


@dataclass(frozen=True)
class Place:
    """Where the frames of an utterance lie.

    Arguments
    ---------
    shard : int
        Number of the shard.
    start : int
        Its first frame there.
    frames : int
        How many.
    """

    shard: int
    start: int
    frames: int


class CutCache:
    """Reads the features at the cut of one utterance after another.

    Arguments
    ---------
    folder : str | Path
        What :func:`write_cut_cache` has written.
    fingerprint : str
        What the features depend on.

    Raises
    ------
    DataError
        If there is none, it is of other features, or a shard is damaged.

    Example
    -------
    >>> folder = getfixture("tmp_path") / "cache"
    >>> utterances = [("a", torch.ones(3, 2)), ("b", torch.zeros(5, 2))]
    >>> write_cut_cache(folder, utterances, fingerprint="1")
    >>> cache = CutCache(folder, fingerprint="1")
    >>> len(cache), cache.read("b").shape
    (2, torch.Size([5, 2]))
    """

    def __init__(self, folder: str | Path, fingerprint: str) -> None:
        self._folder = Path(folder)
        index = _read_index(self._folder)
        if index is None:
            raise DataError(
                f"{folder}: found no {INDEX}, expected a cache of features at "
                "the cut"
            )
        if index["fingerprint"] != fingerprint:
            raise DataError(
                f"{folder}: found features of another device half or of other "
                "audio, expected those of this training"
            )
        self._places = {
            name: Place(*place) for name, place in index["places"].items()
        }
        shards = tqdm(index["shards"].items(), "checking cached features")
        for name, checksum in shards:
            if _checksum(self._folder / name) != checksum:
                raise DataError(
                    f"{self._folder / name}: found damage, expected features "
                    "at the cut: delete the folder to make them anew"
                )
        self._shards = [
            np.load(self._folder / name, mmap_mode="r")
            for name in index["shards"]
        ]

    def __len__(self) -> int:
        return len(self._places)

    def read(self, utterance: str) -> Tensor:
        """Features of an utterance.

        Arguments
        ---------
        utterance : str
            Its ID.

        Returns
        -------
        Tensor
            float32, shape (frame, channel).

        Raises
        ------
        AudioError
            If its audio could not be read when the cache was made.
        """
        place = self._places.get(utterance)
        if place is None:
            raise AudioError(f"{utterance}: not among the cached features")
        end = place.start + place.frames
        # A copy: pages of a file that is only read cannot be a tensor.
        return torch.tensor(self._shards[place.shard][place.start : end])


def cached_fingerprint(folder: str | Path) -> str | None:
    """What the features of a cache depend on; None: there is no cache."""
    index = _read_index(Path(folder))
    return None if index is None else index["fingerprint"]


@dataclass
class _Shard:
    """Utterances that wait to be written."""

    frames: list[np.ndarray] = field(default_factory=list)
    length: int = 0
    bytes: int = 0

    def add(self, frames: np.ndarray) -> None:
        self.frames.append(frames)
        self.length += len(frames)
        self.bytes += frames.nbytes


def write_cut_cache(
    folder: str | Path,
    utterances: Iterable[tuple[str, Tensor]],
    fingerprint: str,
    shard_bytes: int = SHARD_BYTES,
) -> None:
    """Write the features at the cut of a data set.

    Arguments
    ---------
    folder : str | Path
        Where to write; cached features in it are replaced when the new ones
        are there.
    utterances : Iterable[tuple[str, Tensor]]
        ID, and features (frame, channel).
    fingerprint : str
        What the features depend on.
    shard_bytes : int
        Size from which a shard is written.

    Raises
    ------
    DataError
        If the disk is full or cannot be written to, or the folder holds
        anything but cached features.
    """
    folder = Path(folder)
    _check_only_cache(folder)
    places: dict[str, tuple[int, int, int]] = {}
    shards: dict[str, str] = {}
    waiting = _Shard()
    nearest = next(one for one in folder.absolute().parents if one.is_dir())
    with writing_into(nearest):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(
            prefix=f"{folder.name}_unfinished_", dir=folder.parent
        ) as unfinished:
            made = Path(unfinished, folder.name)
            made.mkdir()
            for name, features in utterances:
                frames = features.detach().float().cpu().numpy()
                places[name] = (len(shards), waiting.length, len(frames))
                waiting.add(frames)
                if waiting.bytes >= shard_bytes:
                    _write(made, waiting, shards)
                    waiting = _Shard()
            if waiting.frames:
                _write(made, waiting, shards)
            index = {
                "fingerprint": fingerprint,
                "shards": shards,
                "places": places,
            }
            (made / INDEX).write_text(json.dumps(index))
            _check_only_cache(folder)
            shutil.rmtree(folder, ignore_errors=True)
            made.rename(folder)


def _check_only_cache(folder: Path) -> None:
    """Raise if a folder that is to be replaced holds anything else."""
    if not folder.exists():
        return
    inside = folder.iterdir() if folder.is_dir() else [folder]
    others = [path.name for path in inside if not _OURS.fullmatch(path.name)]
    if others:
        raise DataError(
            f"{folder}: found {others[0]}, expected a folder that does not "
            "exist yet, or one with nothing but cached features"
        )


def _write(folder: Path, shard: _Shard, shards: dict[str, str]) -> None:
    path = folder / f"frames_{len(shards):04d}.npy"
    np.save(path, np.concatenate(shard.frames))
    shards[path.name] = _checksum(path)


def _read_index(folder: Path) -> dict[str, Any] | None:
    try:
        return json.loads((folder / INDEX).read_text())
    except (OSError, ValueError):
        return None


def _checksum(path: Path) -> str:
    try:
        return file_checksum(path)
    except OSError as error:
        raise DataError(
            f"{path}: found no such file, expected features at the cut: "
            "delete the folder to make them anew"
        ) from error
