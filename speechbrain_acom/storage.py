"""Writing files: a disk that is full is said to be full."""

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from speechbrain_acom.errors import DataError

# torch's own words for a file that could not be written to its end.
_TORCH_SAYS = ("unexpected pos", "file write failed", "PytorchStreamWriter")


@contextmanager
def writing_into(folder: str | Path) -> Iterator[None]:
    """Turn what goes wrong while files are written into a one-line error.

    Arguments
    ---------
    folder : str | Path
        Where files are written in this context; it exists.

    Raises
    ------
    DataError
        If the disk is full or cannot be written to; other errors pass.

    Example
    -------
    >>> with writing_into("."):
    ...     raise RuntimeError("[enforce fail] . unexpected pos 128 vs 16")
    Traceback (most recent call last):
    ...
    speechbrain_acom.errors.DataError: .: found ... MB free, expected room for what is saved: free some and start again ([enforce fail] . unexpected pos 128 vs 16)
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        reason = str(error).split("\n")[0]
        known = any(words in reason for words in _TORCH_SAYS)
        if isinstance(error, RuntimeError) and not known:
            raise
        free = shutil.disk_usage(folder).free // 2**20
        raise DataError(
            f"{folder}: found {free} MB free, expected room for what is "
            f"saved: free some and start again ({reason})"
        ) from error


def file_checksum(path: str | Path) -> str:
    """SHA-256 of a file's content, in hexadecimal.

    Arguments
    ---------
    path : str | Path
        The file.

    Returns
    -------
    str
        64 digits.

    Example
    -------
    >>> path = getfixture("tmp_path") / "empty.ckpt"
    >>> _ = path.write_bytes(b"")
    >>> file_checksum(path)[:8]
    'e3b0c442'
    """
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while part := file.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()
