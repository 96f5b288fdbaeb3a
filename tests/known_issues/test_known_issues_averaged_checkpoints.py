"""More than the best checkpoints were averaged for the test.

The mean was taken over every checkpoint in the folder. SpeechBrain keeps the
most recent ones besides the best, so worse ones were mixed in. Now exactly
the best ``avg_checkpoints`` are averaged.
"""

import torch
from training_helpers import (
    WorseAndWorse,
    brain_in,
    dataset_of,
    evaluate_on,
    fit,
    head_of,
)


def test_mean_of_the_best_checkpoints_is_tested(tmp_path):
    brain = brain_in(tmp_path, kind=WorseAndWorse, epochs=4, avg_checkpoints=2)
    fit(brain, dataset_of([5, 3]))
    # SpeechBrain keeps the most recent ones as well.
    kept = brain.checkpointer.find_checkpoints(min_key="clips")
    assert [checkpoint.meta["clips"] for checkpoint in kept] == [1, 2, 3, 4]
    evaluate_on(brain, dataset_of([5]))
    torch.testing.assert_close(
        brain.split.cloud_half.head.weight,
        (head_of(kept[0]) + head_of(kept[1])) / 2,
    )
