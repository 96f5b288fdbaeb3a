"""The folder of an exported coded model: its files, and a check of them.

SpeechBrain fetches a model's files one by one and fails in the middle, each
kind of file in its own way. The check reads one YAML file, which has the
checksum of every other, and says in one line which file is missing, damaged
or of another model, before anything is built.
"""

from pathlib import Path
from typing import Any

import ruamel.yaml
from huggingface_hub.utils import HFValidationError, validate_repo_id

from speechbrain_acom.errors import ConfigurationError
from speechbrain_acom.storage import file_checksum

# What from_hparams reads for both halves, or for one.
HPARAMS_FILES = {
    "both": "hyperparams.yaml",
    "device": "device.yaml",
    "cloud": "cloud.yaml",
}


def hparams_file(half: str) -> str:
    """Name of the YAML file that loads a half.

    Arguments
    ---------
    half : str
        "both", "device" or "cloud".

    Returns
    -------
    str
        The file's name.

    Raises
    ------
    ConfigurationError
        If ``half`` is none of these.

    Example
    -------
    >>> hparams_file("device")
    'device.yaml'
    """
    if half not in HPARAMS_FILES:
        raise ConfigurationError("half", half, "both, device or cloud")
    return HPARAMS_FILES[half]


def checked_files(folder: str | Path, half: str) -> list[str]:
    """Names of the files that a half is made of, all whole.

    Arguments
    ---------
    folder : str | Path
        An exported coded model, or a copy of one half of it.
    half : str
        "both", "device" or "cloud".

    Returns
    -------
    list[str]
        The YAML file and the files that it loads.

    Raises
    ------
    ConfigurationError
        If the folder is no such model, or a file is missing, damaged or of
        another model; the message has the first one.
    """
    checksums = _read_yaml(folder, half)["checksums"]
    for name, checksum in checksums.items():
        path = Path(folder, name)
        if not path.is_file():
            raise ConfigurationError(
                "model folder", str(folder), f"a folder that also holds {name}"
            )
        if file_checksum(path) != checksum:
            raise ConfigurationError(
                str(path),
                f"{path.stat().st_size} bytes of other content",
                "the file that was exported with this model: copy it again",
            )
    return [hparams_file(half), *checksums]


def check_source(source: str | Path, half: str) -> None:
    """Make sure that a half can be loaded from a folder or fetched.

    Arguments
    ---------
    source : str | Path
        Folder of an exported coded model, or its name on the hub.
    half : str
        "both", "device" or "cloud".

    Raises
    ------
    ConfigurationError
        As :func:`checked_files`, or if the source is neither a folder nor a
        possible hub name: a mistyped folder, most likely.
    """
    if Path(source).is_dir():
        checked_files(source, half)
    elif not str(source).startswith(("http:", "https:")):
        try:
            validate_repo_id(str(source))
        except HFValidationError:
            raise ConfigurationError(
                "source", str(source), "an existing folder or a name on the hub"
            ) from None


def interface_name(folder: str | Path, half: str) -> str:
    """Name of the interface class that a model was exported for.

    Arguments, errors: as :func:`checked_files`, but only the YAML file is read.

    Returns
    -------
    str
        For example "AcomASR".
    """
    return _read_yaml(folder, half)["interface"]


def _read_yaml(folder: str | Path, half: str) -> dict[str, Any]:
    """The YAML file of a half, its objects not built."""
    path = Path(folder, hparams_file(half))
    if not path.is_file():
        raise ConfigurationError(
            "model folder",
            str(folder),
            f"the folder of an exported model, which holds {path.name}",
        )
    try:
        content = ruamel.yaml.YAML().load(path.read_text(encoding="utf-8"))
    except (ruamel.yaml.error.YAMLError, UnicodeDecodeError):
        content = None
    # A run's output folder has a hyperparams.yaml too, without these.
    if not isinstance(content, dict) or "checksums" not in content:
        raise ConfigurationError(
            "model folder",
            str(folder),
            f"the folder export of a run: this {path.name} is of another kind",
        )
    return content
