"""Codes of the utterances of a data set, as the benchmarks take them.

They are read from ``.npz`` files, here without torch; ``run_codes.py`` makes
them with a trained model.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from speechbrain_acom.entropy.framing import ONE_TO_ONE, Framing
from speechbrain_acom.errors import ConfigurationError, DataError


@dataclass(frozen=True)
class CodeSet:
    """Codes of the utterances of one split of a data set.

    Arguments
    ---------
    name : str
        Of the split.
    utterances : Sequence[np.ndarray]
        Codes, integers, each of shape (code frame, K).
    cardinalities : tuple[int, ...]
        Entries per codebook, coarse to fine: (V_1, ..., V_K).
    seconds : np.ndarray
        Audio of each utterance, shape (utterance,).
    num_frames : np.ndarray
        Frames at the cut of each utterance, shape (utterance,).
    framing : Framing
        Frames at the cut that each frame of codes covers.
    recordings : Sequence[str]
        Which recording each utterance is of.
    targets : Sequence[str]
        The right answer to each utterance; empty where it is not known.
    """

    name: str
    utterances: Sequence[np.ndarray]
    cardinalities: tuple[int, ...]
    seconds: np.ndarray
    num_frames: np.ndarray
    framing: Framing
    recordings: Sequence[str]
    targets: Sequence[str]

    @property
    def frames(self) -> int:
        """Frames of codes in all utterances."""
        return sum(map(len, self.utterances))

    @property
    def symbols(self) -> int:
        """Codes in all utterances."""
        return self.frames * len(self.cardinalities)

    @property
    def hours(self) -> float:
        """Audio of all utterances."""
        return float(self.seconds.sum()) / 3600

    def limited(self, count: int | None) -> "CodeSet":
        """The first utterances alone; None: all of them."""
        return replace(
            self,
            utterances=self.utterances[:count],
            seconds=self.seconds[:count],
            num_frames=self.num_frames[:count],
            recordings=self.recordings[:count],
            targets=self.targets[:count],
        )

    def joined(self) -> "CodeSet":
        """The same codes as one long utterance without framing."""
        codes = np.concatenate(self.utterances)
        return replace(
            self,
            utterances=[codes],
            seconds=self.seconds.sum(keepdims=True),
            num_frames=np.array([len(codes)]),
            framing=ONE_TO_ONE,
            recordings=[self.name],
            targets=[""],
        )

    def save(self, path: str | Path, **more: np.ndarray | str | int) -> None:
        """Write all of it into one ``.npz`` file.

        Arguments
        ---------
        path : str | Path
            The file; its folder is made.
        **more
            Stored beside it.
        """
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        np.savez(
            path,
            *(codes.astype(np.int32) for codes in self.utterances),
            cardinalities=self.cardinalities,
            seconds=self.seconds,
            num_frames=self.num_frames,
            merge=self.framing.merge,
            run_lengths=self.framing.run_lengths,
            recordings=np.array(self.recordings),
            targets=np.array(self.targets),
            **more,
        )


def load_codes(
    path: str | Path,
    cardinalities: Sequence[int] | None = None,
    frames_per_s: float | None = None,
) -> CodeSet:
    """Read codes from an ``.npz`` file.

    Arguments
    ---------
    path : str | Path
        What :meth:`CodeSet.save` wrote; or one array an utterance, under the
        names that ``np.savez`` gives, and as much of the rest as there is.
    cardinalities : Sequence[int] | None
        Entries per codebook, where the file does not say them.
    frames_per_s : float | None
        Frames of codes a second, where the file has no seconds.

    Returns
    -------
    CodeSet
        Named as the file.

    Raises
    ------
    DataError
        If the file cannot be read, or holds no codes.
    ConfigurationError
        If what the file does not say is not given either.
    """
    stored = _stored(path)
    names = [name for name in stored if name.startswith("arr_")]
    # np.savez numbers them; the file's own order is not to be relied on.
    utterances = [stored[f"arr_{number}"] for number in range(len(names))]
    if not utterances:
        raise DataError(f"{path}: found no codes, expected an array each")
    lengths = np.array([len(codes) for codes in utterances])
    numbered = [str(number) for number in range(len(utterances))]
    if "cardinalities" in stored:
        cardinalities = stored["cardinalities"].tolist()
    if "seconds" in stored:
        seconds = stored["seconds"]
    elif frames_per_s is not None:
        seconds = lengths / frames_per_s
    else:
        raise ConfigurationError("frames_per_s", None, f"those of {path}")
    if cardinalities is None:
        raise ConfigurationError("cardinalities", None, f"those of {path}")
    return CodeSet(
        name=Path(path).stem,
        utterances=utterances,
        cardinalities=tuple(cardinalities),
        seconds=seconds,
        num_frames=stored.get("num_frames", lengths),
        framing=Framing(
            int(stored.get("merge", 1)), bool(stored.get("run_lengths", False))
        ),
        recordings=stored.get("recordings", np.array(numbered)).tolist(),
        targets=stored.get("targets", np.array([""] * len(lengths))).tolist(),
    )


def _stored(path: str | Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    except (OSError, EOFError, ValueError, BadZipFile) as error:
        raise DataError(
            f"{path}: found no codes ({error}), expected an .npz file"
        ) from None
