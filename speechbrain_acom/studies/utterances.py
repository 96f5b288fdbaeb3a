"""What a test says of every utterance, kept so that tests can be pooled."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from speechbrain_acom.dataio import AudioDataset
from speechbrain_acom.errors import DataError
from speechbrain_acom.metrics.scores import Counted, interval_columns

# Clips that are cut from one recording are no independent evidence.
GROUP = "fs_id"


@dataclass(frozen=True)
class Utterances:
    """What was counted of each of them.

    Arguments
    ---------
    names : list[str]
        Their IDs.
    groups : list[str]
        What must be drawn together.
    counted : Mapping[str, Counted]
        By metric.
    message_bytes : list[int] | None
        Sizes of their messages; None: nothing was sent.

    Example
    -------
    >>> counted = {"wer_percent": Counted(np.array([1.0, 0.0]), np.array([4.0, 4.0]))}
    >>> utterances = Utterances(["a", "b"], ["a", "b"], counted)
    >>> path = getfixture("tmp_path") / "test"
    >>> utterances.save(path)
    >>> Utterances.read(path).counted["wer_percent"].percent
    12.5
    """

    names: list[str]
    groups: list[str]
    counted: Mapping[str, Counted]
    message_bytes: list[int] | None = None

    @classmethod
    def of(
        cls,
        names: Sequence[str],
        counted: Mapping[str, Counted],
        dataset: AudioDataset,
        message_bytes: Sequence[int] | None = None,
    ) -> "Utterances":
        """With the groups that a data set tells.

        Arguments
        ---------
        names, counted, message_bytes
            As for the class.
        dataset : AudioDataset
            Where the utterances are from; its column "fs_id" has the
            recordings that clips are cut from.

        Returns
        -------
        Utterances
            Each its own group where there is no such column.
        """
        groups = [str(dataset.data[name].get(GROUP, name)) for name in names]
        sizes = None if message_bytes is None else list(message_bytes)
        return cls(list(names), groups, counted, sizes)

    def interval_columns(self) -> dict[str, float]:
        """Ends of the 95 % intervals, as columns of a results row."""
        if not self.names:
            return {}
        return interval_columns(self.counted, self.groups)

    def save(self, path: str | Path) -> None:
        """Write them as JSON, into ``path`` with the suffix ``.json``."""
        path = Path(f"{path}.json")
        path.parent.mkdir(parents=True, exist_ok=True)
        content = {
            "names": self.names,
            "groups": self.groups,
            "message_bytes": self.message_bytes,
            "counted": {
                metric: {
                    "counts": one.counts.tolist(),
                    "units": one.units.tolist(),
                }
                for metric, one in self.counted.items()
            },
        }
        unfinished = path.with_name(f"{path.name}.unfinished")
        unfinished.write_text(json.dumps(content), encoding="utf-8")
        unfinished.replace(path)

    @classmethod
    def read(cls, path: str | Path) -> "Utterances":
        """Read what :meth:`save` has written.

        Raises
        ------
        DataError
            If there is no such file, or it is damaged.
        """
        path = Path(f"{path}.json")
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise DataError(
                f"{path}: found no such file, expected what a test leaves: "
                "run it again"
            ) from error
        counted = {
            metric: Counted(np.array(one["counts"]), np.array(one["units"]))
            for metric, one in content["counted"].items()
        }
        return cls(
            content["names"],
            content["groups"],
            counted,
            content["message_bytes"],
        )
