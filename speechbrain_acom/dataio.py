"""Feed audio to a Brain so that a bad file never ends a training.

The chain has three links. ``AudioDataset`` turns an example whose audio
cannot be read into a ``SkippedExample`` instead of raising. ``ReadableBatch``,
the ``collate_fn``, pads the other examples and carries the skipped ones along,
because a loader's worker processes cannot count for the main process.
``SkipRecord``, in the main process, names each skipped example once and counts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from os import PathLike
from pathlib import Path

from speechbrain.dataio.batch import PaddedBatch
from speechbrain.dataio.dataio import load_data_csv
from speechbrain.dataio.dataset import DynamicItemDataset
from speechbrain.utils.data_pipeline import DataPipeline
from speechbrain.utils.logger import get_logger
from torch import Tensor

from speechbrain_acom.audio import load_audio, pad_short
from speechbrain_acom.errors import AudioError, DataError

logger = get_logger(__name__)


@dataclass(frozen=True)
class SkippedExample:
    """An example whose audio cannot be used.

    Arguments
    ---------
    example_id : str
        Its ID in the manifest.
    reason : str
        One line with the file's name and what is wrong with it.
    """

    example_id: str
    reason: str


class _SkippingPipeline(DataPipeline):
    """A pipeline that gives a SkippedExample where audio cannot be read."""

    def compute_outputs(self, data: Mapping) -> dict | SkippedExample:
        try:
            return super().compute_outputs(data)
        except AudioError as error:
            return SkippedExample(data["id"], str(error))


class AudioDataset(DynamicItemDataset):
    """A DynamicItemDataset that survives audio that cannot be read.

    An example of which any dynamic item raises an AudioError is fetched as a
    SkippedExample. So are those of its filtered and sorted versions. Items
    are added and output keys set as in SpeechBrain.

    Arguments
    ---------
    data : Mapping[str, Mapping]
        Examples by ID; the other arguments too are DynamicItemDataset's.
    dynamic_items : Sequence
        How to make further items.
    output_keys : Sequence[str]
        Which items to fetch.

    Example
    -------
    >>> dataset = AudioDataset({"a": {"wav": "missing.wav"}})
    >>> dataset.add_dynamic_item(
    ...     partial(load_audio, sample_rate=16000), takes="wav", provides="sig"
    ... )
    >>> dataset.set_output_keys(["id", "sig"])
    >>> dataset[0].example_id
    'a'
    """

    def __init__(
        self,
        data: Mapping[str, Mapping],
        dynamic_items: Sequence = (),
        output_keys: Sequence[str] = (),
    ) -> None:
        super().__init__(data)
        static_keys = ["id", *next(iter(data.values()))]
        self.pipeline = _SkippingPipeline(static_keys, list(dynamic_items))
        self.set_output_keys(output_keys)


class ReadableBatch(PaddedBatch):
    """The padded batch of those examples that could be read.

    Pass the class itself as ``collate_fn``. Where nothing could be read the
    batch has length 0, is false, and has no items.

    Arguments
    ---------
    examples : Sequence[dict | SkippedExample]
        As fetched from an AudioDataset.

    Attributes
    ----------
    skipped : tuple[SkippedExample, ...]
        Examples that are not in the batch.

    Example
    -------
    >>> import torch
    >>> batch = ReadableBatch(
    ...     [
    ...         {"id": "a", "sig": torch.ones(3)},
    ...         SkippedExample("b", "b.wav: found 0 samples"),
    ...     ]
    ... )
    >>> len(batch), batch.id, [skipped.example_id for skipped in batch.skipped]
    (1, ['a'], ['b'])
    """

    def __init__(self, examples: Sequence[dict | SkippedExample]) -> None:
        readable = [
            example
            for example in examples
            if not isinstance(example, SkippedExample)
        ]
        self.skipped = tuple(
            example
            for example in examples
            if isinstance(example, SkippedExample)
        )
        self._length = len(readable)
        # PaddedBatch needs an example to learn the keys from.
        super().__init__(readable or [{}])

    def __len__(self) -> int:
        return self._length

    @property
    def batchsize(self) -> int:
        """Number of examples that could be read."""
        return self._length


class SkipRecord:
    """Names each skipped example once in the log and counts them.

    Kept in the main process, by whoever walks through the batches.

    Attributes
    ----------
    reasons : dict[str, str]
        What is wrong with each skipped example, by ID.

    Example
    -------
    >>> record = SkipRecord()
    >>> batch = ReadableBatch([SkippedExample("b", "b.wav: found 0 samples")])
    >>> record.add(batch)
    >>> record.add(batch)
    >>> len(record)
    1
    """

    def __init__(self) -> None:
        self.reasons: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self.reasons)

    def add(self, batch: ReadableBatch) -> None:
        """Note the skipped examples of one batch.

        Arguments
        ---------
        batch : ReadableBatch
            A batch from the loader.
        """
        for skipped in batch.skipped:
            if skipped.example_id in self.reasons:
                continue
            self.reasons[skipped.example_id] = skipped.reason
            # Under torchrun each process sees files that no other sees.
            logger.warning(
                "Skipped %s: %s",
                skipped.example_id,
                skipped.reason,
                main_process_only=False,
            )


def manifest_dataset(
    csv_path: str | PathLike, data_root: str | PathLike, sample_rate: int
) -> AudioDataset:
    """Open a manifest as a data set that provides the signal as ``sig``.

    Arguments
    ---------
    csv_path : str | PathLike
        Manifest with at least the columns ID and wav.
    data_root : str | PathLike
        Stands in for ``$data_root`` in the manifest.
    sample_rate : int
        Sample rate of ``sig``, in Hz.

    Returns
    -------
    AudioDataset
        With the dynamic item ``sig``, float32, shape (time,), at least 0.1 s;
        the recipe adds its own items and sets the output keys.

    Raises
    ------
    DataError
        If the manifest is missing, has no rows or lacks a column.

    Example
    -------
    >>> path = getfixture("tmp_path") / "test.csv"
    >>> _ = path.write_text("ID,wav\\na,$data_root/a.wav\\n")
    >>> manifest_dataset(path, "/corpus", 16000).data["a"]["wav"]
    '/corpus/a.wav'
    """
    path = Path(csv_path)
    if not path.is_file():
        raise DataError(
            f"{path}: found no such manifest, expected the CSV file that the "
            "recipe's preparation writes"
        )
    try:
        data = load_data_csv(path, {"data_root": str(data_root)})
    except (KeyError, ValueError) as error:
        raise DataError(f"{path}: {error.args[0]}") from error
    if not data:
        raise DataError(f"{path}: found no rows, expected an example")
    if "wav" not in next(iter(data.values())):
        raise DataError(f"{path}: found no column wav, expected ID and wav")
    dataset = AudioDataset(data)
    load = partial(_load, sample_rate=sample_rate)
    dataset.add_dynamic_item(load, takes="wav", provides="sig")
    return dataset


def _load(path: str, sample_rate: int) -> Tensor:
    """The signal as inference sees it, shape (time,)."""
    return pad_short(load_audio(path, sample_rate), sample_rate)
