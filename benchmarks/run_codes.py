"""Codes of a recipe's data, made by the device half of the exported model."""

from argparse import ArgumentTypeError
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from code_sets import CodeSet, load_codes
from tqdm import tqdm

from speechbrain_acom.audio import load_audio, probe_audio
from speechbrain_acom.dataio import manifest_dataset
from speechbrain_acom.errors import AudioError, DataError
from speechbrain_acom.hparams import read_tree
from speechbrain_acom.inference import AcomInterface, load_interface
from speechbrain_acom.inference.folder import checked_files
from speechbrain_acom.storage import file_checksum

# Columns of a manifest, the first of which that is there counts.
TARGET_COLUMNS = ("wrd", "class_name")
# Clips that were cut from one recording are no independent evidence.
RECORDING_COLUMN = "fs_id"


def named_path(argument: str) -> tuple[str, str]:
    """A name and a path, as commands take them.

    Arguments
    ---------
    argument : str
        ``name=path``.

    Returns
    -------
    tuple[str, str]
        Both of them.

    Example
    -------
    >>> named_path("digits=results/mini_rvq")
    ('digits', 'results/mini_rvq')
    """
    name, _, path = argument.partition("=")
    if not (name and path):
        raise ArgumentTypeError(f"found {argument}, expected name=path")
    return name, path


def run_codes(
    run: str | Path,
    splits: Sequence[str] | None = None,
    limit: int | None = None,
    data_folder: str | Path | None = None,
) -> list[CodeSet]:
    """Codes of a trained model's data, from its device half.

    They are kept in the folder ``codes`` of the run, and taken from there as
    long as the model is the same.

    Arguments
    ---------
    run : str | Path
        A recipe's output folder.
    splits : Sequence[str] | None
        Names of manifests in its folder ``save``. None: the training data,
        then every test set.
    limit : int | None
        Take the first so many utterances of each only.
    data_folder : str | Path | None
        The corpus; None: where the run found it.

    Returns
    -------
    list[CodeSet]
        One a split.

    Raises
    ------
    DataError
        If there is no such manifest, or no readable audio in it.
    ConfigurationError
        If the folder holds no exported model.
    """
    run = Path(run)
    splits = splits or ["train", *names_of_test_sets(run)]
    tree = read_tree(run / "hyperparams.yaml")
    root = data_folder or tree["data_folder"]
    checked_files(run / "export", "device")
    model = file_checksum(run / "export" / "device.ckpt")
    interface = None
    sets = []
    for split in splits:
        kept = run / "codes" / f"{split}.npz"
        manifest = run / "save" / f"{split}.csv"
        rows = manifest_dataset(manifest, root, tree["sample_rate"]).data
        wanted = min(limit or len(rows), len(rows))
        if not _holds(kept, model, wanted):
            interface = interface or load_interface(run / "export", "device")
            chosen = dict(list(rows.items())[:wanted])
            coded = _coded(interface, split, chosen)
            coded.save(kept, model=model, rows=wanted)
        sets.append(load_codes(kept).limited(limit))
    return sets


def names_of_test_sets(run: str | Path) -> list[str]:
    """Names of the test sets' manifests of a run.

    Raises
    ------
    DataError
        If there is none.
    """
    return _manifests(run, "test*.csv")


def names_of_validation_sets(run: str | Path) -> list[str]:
    """Names of the validation sets' manifests of a run.

    Raises
    ------
    DataError
        If there is none.
    """
    return _manifests(run, "valid.csv", "dev*.csv")


def _manifests(run: str | Path, *patterns: str) -> list[str]:
    folder = Path(run, "save")
    found = {path.stem for pattern in patterns for path in folder.glob(pattern)}
    if not found:
        raise DataError(
            f"{run}: found no save/{' or '.join(patterns)}, expected a "
            "recipe's output folder"
        )
    return sorted(found)


def _holds(path: Path, model: str, rows: int) -> bool:
    """Whether a file has the codes of so many rows by this model."""
    if not path.is_file():
        return False
    with np.load(path) as stored:
        return str(stored["model"]) == model and int(stored["rows"]) >= rows


def _coded(
    interface: AcomInterface, split: str, rows: Mapping[str, Mapping[str, str]]
) -> CodeSet:
    """Codes of the rows of a manifest, but for those of unreadable audio."""
    utterances, seconds, num_frames, kept = [], [], [], []
    for key, row in tqdm(rows.items(), desc=f"coding {split}", disable=None):
        try:
            length = probe_audio(row["wav"]).seconds
            signal = load_audio(row["wav"], interface.hparams.sample_rate)
            codes, frames = interface.signal_codes(signal)
        except AudioError as error:
            tqdm.write(f"left out: {error}")
            continue
        utterances.append(codes.numpy())
        seconds.append(length)
        num_frames.append(frames)
        kept.append({"ID": key, **row})
    if not kept:
        raise DataError(f"{split}: found no readable audio, expected some")
    return CodeSet(
        name=split,
        utterances=utterances,
        cardinalities=interface.bottleneck.cardinalities,
        seconds=np.array(seconds),
        num_frames=np.array(num_frames),
        framing=interface.bottleneck.framing,
        recordings=[row.get(RECORDING_COLUMN, row["ID"]) for row in kept],
        targets=[_target(row) for row in kept],
    )


def _target(row: Mapping[str, str]) -> str:
    return next((row[key] for key in TARGET_COLUMNS if key in row), "")
