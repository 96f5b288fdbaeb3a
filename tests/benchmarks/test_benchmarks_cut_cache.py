"""What is read from the log of a training."""

from argparse import Namespace

import cut_cache
import pytest

from speechbrain_acom.errors import DataError

LOG = [
    "2026-11-29 15:07:14,000 - speechbrain.core - INFO - Beginning experiment!",
    "2026-11-29 15:07:15,000 - acom - INFO - caching the features at the cut",
    "2026-11-29 15:07:20,500 - epoch_loop - INFO - Going into epoch 1",
    "2026-11-29 15:07:50,500 - epoch_loop - INFO - Going into epoch 2",
    "a line of another kind",
    "2026-11-29 15:08:02,750 - epoch_loop - INFO - Going into epoch 3",
    "2026-11-29 15:08:12,750 - epoch_loop - INFO - Going into epoch 4",
]


def test_the_fastest_epoch_but_the_first_counts():
    assert cut_cache.epoch_seconds(LOG) == pytest.approx(10.0)


def test_caching_ends_with_the_first_epoch():
    assert cut_cache.caching_seconds(LOG) == pytest.approx(5.5)


def test_a_training_that_fails_says_why(tmp_path):
    options = Namespace(
        data_folder="no/where",
        pretrained=tmp_path,
        train="train",
        dev="dev",
        hparams="mini_rvq",
        split_layer=2,
    )
    with pytest.raises(DataError, match="train.py: DataError: .*no/where"):
        cut_cache.trained(options, "lobe", "", tmp_path / "run")
