"""What a test says of every utterance: kept, and read again."""

import numpy as np
import pytest

from speechbrain_acom.dataio import AudioDataset
from speechbrain_acom.errors import DataError
from speechbrain_acom.metrics.scores import label_counts
from speechbrain_acom.studies.utterances import Utterances

COUNTED = label_counts(["dog", "cat", "dog"], ["dog", "dog", "dog"])


def dataset(**columns):
    rows = {name: {"wav": f"{name}.wav"} for name in "abc"}
    for column, values in columns.items():
        for row, value in zip(rows.values(), values, strict=True):
            row[column] = value
    return AudioDataset(rows)


def test_what_was_saved_is_read(tmp_path):
    first = Utterances.of("abc", COUNTED, dataset(), [3, 4, 5])
    first.save(tmp_path / "deep" / "test")
    again = Utterances.read(tmp_path / "deep" / "test")
    assert again.names == first.names == ["a", "b", "c"]
    assert again.groups == ["a", "b", "c"]
    assert again.message_bytes == [3, 4, 5]
    for metric, counted in COUNTED.items():
        assert np.array_equal(again.counted[metric].counts, counted.counts)
        assert np.array_equal(again.counted[metric].units, counted.units)


def test_clips_of_one_recording_belong_together():
    data = dataset(fs_id=["1", "2", "1"])
    assert Utterances.of("abc", COUNTED, data).groups == ["1", "2", "1"]


def test_columns_of_no_utterance_are_none():
    assert Utterances([], [], {}).interval_columns() == {}


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match="test.json: found no such file"):
        Utterances.read(tmp_path / "test")
