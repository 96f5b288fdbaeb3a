"""Files of a kind inside a folder; a file that is named may be called anything."""

from collections.abc import Sequence
from pathlib import Path

AUDIO_SUFFIXES = (
    ".aif .aiff .au .caf .flac .mp3 .oga .ogg .opus .w64 .wav".split()
)


def files_below(folder: str | Path, suffixes: Sequence[str]) -> list[Path]:
    """Files of a folder, at any depth, always in the same order.

    Arguments
    ---------
    folder : str | Path
        The folder; one that does not exist has no files.
    suffixes : Sequence[str]
        In lower case; those of files may be in upper case.

    Returns
    -------
    list[Path]
        Their paths, which begin with that of the folder.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> (folder / "A.WAV").touch(), (folder / "notes.txt").touch()
    (None, None)
    >>> [path.name for path in files_below(folder, AUDIO_SUFFIXES)]
    ['A.WAV']
    """
    return sorted(
        path
        for path in Path(folder).rglob("*")
        if path.suffix.lower() in suffixes
    )
