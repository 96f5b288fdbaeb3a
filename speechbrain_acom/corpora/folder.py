"""The folder of a machine-made corpus: made once, never over other things."""

import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from speechbrain_acom.errors import DataError

RECORD = "corpus.json"
README = "README.txt"
# Raised whenever the same settings would give other samples or other files.
VERSION = 1


@dataclass(frozen=True)
class MadeCorpus:
    """What lies in the folder of a finished machine-made corpus.

    Arguments
    ---------
    folder : Path
        The corpus's folder.
    clips : int
        Number of audio files.
    seconds : float
        Their total duration.
    newly_made : bool
        False if the folder already held this corpus.
    """

    folder: Path
    clips: int
    seconds: float
    newly_made: bool


class CorpusFolder:
    """A folder that is either empty, unfinished, or holds one corpus.

    The record ``corpus.json`` is written when the making begins and again
    when it ends, so that a corpus that was interrupted is recognised.

    Arguments
    ---------
    path : str | Path
        The folder; made if it does not exist.
    kind : str
        "speech" or "sounds".
    settings : Mapping[str, object]
        All that decides what the files hold.
    contents : Iterable[str]
        Names of what the corpus puts right under the folder.

    Example
    -------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as path:
    ...     folder = CorpusFolder(path, "sounds", {"seed": 0}, ["audio"])
    ...     folder.begin("Machine-made sounds.")
    ...     made = folder.finish(clips=3, seconds=12.0)
    ...     folder.finished().clips
    3
    """

    def __init__(
        self,
        path: str | Path,
        kind: str,
        settings: Mapping[str, object],
        contents: Iterable[str],
    ) -> None:
        self.path = Path(path)
        self.identity = {
            "kind": f"machine-made {kind}",
            "version": VERSION,
            "settings": dict(settings),
        }
        self.contents = {RECORD, README, *contents}

    def finished(self) -> MadeCorpus | None:
        """Look for a finished corpus with the same settings.

        Returns
        -------
        MadeCorpus | None
            The corpus that is there, or None if it has to be made.

        Raises
        ------
        DataError
            If the folder holds anything else than an unfinished corpus of
            this kind.
        """
        if self.path.exists() and not self.path.is_dir():
            raise DataError(
                f"{self.path}: found a file, expected a folder that is empty "
                "or does not exist; give another folder"
            )
        record = self._record()
        if record is None:
            return None
        found = {key: record.get(key) for key in self.identity}
        if record.get("finished") and found != self.identity:
            raise DataError(
                f"{self.path}: found a corpus made with {json.dumps(found)}, "
                f"expected {json.dumps(self.identity)}; delete it or give "
                "another folder"
            )
        if not record.get("finished"):
            return None
        return MadeCorpus(
            self.path, record["clips"], record["seconds"], newly_made=False
        )

    def begin(self, readme: str) -> None:
        """Remove what an interrupted run left and mark the folder as begun.

        Arguments
        ---------
        readme : str
            Text that tells a reader what the folder holds.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        for name in self.contents - {RECORD}:
            leftover = self.path / name
            if leftover.is_dir():
                shutil.rmtree(leftover)
            else:
                leftover.unlink(missing_ok=True)
        self._write({**self.identity, "finished": False})
        (self.path / README).write_text(readme, encoding="utf-8")

    def finish(self, clips: int, seconds: float) -> MadeCorpus:
        """Mark the corpus as finished.

        Arguments
        ---------
        clips : int
            Number of audio files that were written.
        seconds : float
            Their total duration.

        Returns
        -------
        MadeCorpus
            The corpus that now lies in the folder.
        """
        made = MadeCorpus(self.path, clips, round(seconds, 3), newly_made=True)
        counts = asdict(made)
        del counts["folder"], counts["newly_made"]
        self._write({**self.identity, "finished": True, **counts})
        return made

    def _record(self) -> dict | None:
        """The folder's record, None if the folder is empty or absent."""
        names = (
            {entry.name for entry in self.path.iterdir()}
            if self.path.is_dir()
            else set()
        )
        if not names:
            return None
        strangers = sorted(names - self.contents)
        if strangers or RECORD not in names:
            name = strangers[0] if strangers else sorted(names)[0]
            raise DataError(
                f"{self.path}: found {name!r}, expected an empty folder or a "
                f"{self.identity['kind']} corpus; give another folder"
            )
        try:
            record = json.loads((self.path / RECORD).read_text("utf-8"))
        except ValueError:
            # Interrupted while the record itself was written.
            return {"finished": False}
        if not isinstance(record, dict):
            return {"finished": False}
        return record

    def _write(self, record: Mapping[str, object]) -> None:
        """Write the record; one that is cut short counts as unfinished."""
        text = json.dumps(record, indent=2) + "\n"
        (self.path / RECORD).write_text(text, encoding="utf-8")
