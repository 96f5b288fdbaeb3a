"""Features at the cut on disk: what was written is read, damage is named."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from speechbrain_acom.errors import AudioError, DataError
from speechbrain_acom.training.cut_cache import (
    INDEX,
    CutCache,
    write_cut_cache,
)


def utterances(counts):
    generator = torch.Generator().manual_seed(0)
    return [
        (str(number), torch.randn(count, 3, generator=generator))
        for number, count in enumerate(counts)
    ]


@given(
    counts=st.lists(st.integers(0, 9), min_size=1, max_size=12),
    shard_bytes=st.integers(1, 200),
)
def test_every_utterance_is_read_as_it_was_written(
    tmp_path_factory, counts, shard_bytes
):
    folder = tmp_path_factory.mktemp("cache") / "train"
    written = utterances(counts)
    write_cut_cache(folder, written, "1", shard_bytes)
    cache = CutCache(folder, "1")
    assert len(cache) == len(counts)
    for name, features in reversed(written):
        assert torch.equal(cache.read(name), features)


def test_shards_are_no_larger_than_need_be(tmp_path):
    folder = tmp_path / "cache"
    write_cut_cache(folder, utterances([10] * 7), "1", shard_bytes=240)
    lengths = [len(np.load(path)) for path in sorted(folder.glob("*.npy"))]
    assert lengths == [20, 20, 20, 10]


def test_what_is_read_may_be_changed(tmp_path):
    write_cut_cache(tmp_path / "a", utterances([2]), "1")
    cache = CutCache(tmp_path / "a", "1")
    cache.read("0").zero_()
    assert cache.read("0").any()


def test_an_utterance_that_could_not_be_read_is_named(tmp_path):
    write_cut_cache(tmp_path / "a", utterances([2]), "1")
    with pytest.raises(AudioError, match="^b: not among"):
        CutCache(tmp_path / "a", "1").read("b")


def test_other_features_are_refused(tmp_path):
    write_cut_cache(tmp_path / "a", utterances([2]), "1")
    with pytest.raises(DataError, match="another device half"):
        CutCache(tmp_path / "a", "2")


def test_damage_is_named(tmp_path):
    write_cut_cache(tmp_path / "a", utterances([5]), "1")
    path = tmp_path / "a" / "frames_0000.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match="frames_0000.npy: found damage"):
        CutCache(tmp_path / "a", "1")
    path.unlink()
    with pytest.raises(DataError, match="found no such file"):
        CutCache(tmp_path / "a", "1")


@pytest.mark.parametrize("content", [None, "", "no json"])
def test_no_index_no_cache(tmp_path, content):
    write_cut_cache(tmp_path / "a", utterances([5]), "1")
    (tmp_path / "a" / INDEX).unlink()
    if content is not None:
        (tmp_path / "a" / INDEX).write_text(content)
    with pytest.raises(DataError, match="found no index.json"):
        CutCache(tmp_path / "a", "1")


def test_a_cache_that_was_not_finished_is_none(tmp_path):
    def some():
        yield from utterances([5])
        raise KeyboardInterrupt

    write_cut_cache(tmp_path / "a", utterances([1]), "0")
    with pytest.raises(KeyboardInterrupt):
        write_cut_cache(tmp_path / "a", some(), "1", shard_bytes=1)
    # What was there is there until the new one is whole.
    assert len(CutCache(tmp_path / "a", "0")) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    write_cut_cache(tmp_path / "a", utterances([2]), "1")
    [name] = json.loads((tmp_path / "a" / INDEX).read_text())["shards"]
    assert name == "frames_0000.npy"


@pytest.mark.parametrize("other", ["a.flac", "index.json.txt", "folder/b"])
def test_a_folder_with_anything_else_is_left_alone(tmp_path, other):
    path = tmp_path / "train" / other
    path.parent.mkdir(parents=True)
    path.write_text("precious")
    with pytest.raises(DataError, match="expected a folder that does not"):
        write_cut_cache(tmp_path / "train", utterances([1]), "1")
    assert path.read_text() == "precious"


def test_a_file_in_place_of_the_folder_is_left_alone(tmp_path):
    (tmp_path / "train").write_text("precious")
    with pytest.raises(DataError):
        write_cut_cache(tmp_path / "train", utterances([1]), "1")
    with pytest.raises(DataError):
        write_cut_cache(tmp_path / "train" / "in", utterances([1]), "1")
    assert (tmp_path / "train").read_text() == "precious"


def test_no_utterance_is_a_cache_of_none(tmp_path):
    write_cut_cache(tmp_path / "a", [], "1")
    assert len(CutCache(tmp_path / "a", "1")) == 0
