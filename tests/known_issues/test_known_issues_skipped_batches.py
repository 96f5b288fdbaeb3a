"""Batches without a readable file counted as batches with a loss of zero.

First they gave a loss of zero themselves. Then they gave none, but
SpeechBrain's running mean divides by the number of all batches, so those
before the first readable one still counted as zero. The mean is now taken
over the batches that were used.
"""

import pytest
from training_helpers import brain_in, dataset_of, evaluate_on, fit

READABLE = dataset_of([4, 4])


@pytest.mark.parametrize("unreadable", ["ab", "cd", "ef", "abef"])
def test_batch_without_readable_files_has_no_part_in_the_mean_loss(
    tmp_path, unreadable
):
    brain = fit(brain_in(tmp_path, epochs=0, beta=0.0), READABLE)
    loss = evaluate_on(brain, dataset_of([4] * 6, unreadable))
    [test] = brain.hparams.train_logger.tests
    assert loss == test["loss"] == pytest.approx(test["task_loss"])
    assert loss > 0


@pytest.mark.parametrize("unreadable", ["ab", "cd", "ef", "abef"])
def test_the_same_holds_in_training(tmp_path, unreadable):
    brain = brain_in(tmp_path, beta=0.0)
    fit(brain, dataset_of([4] * 6, unreadable))
    [(_, train, _)] = brain.hparams.train_logger.epochs
    assert train["loss"] == pytest.approx(train["task_loss"])
