"""The first optimizer step was taken at the peak of the learning rate.

The optimizer is made with the peak rate, and the schedule was moved along
only after a step: the one step that warming up is there for was the largest
of all. The schedule is now moved along before every step.
"""

import pytest
from training_helpers import rates


def test_rate_warms_up_and_ends_at_zero_with_the_last_step(tmp_path):
    # Peak 0.1 after 2 steps, 4 batches an epoch.
    expected = [0.05, 0.1, *(0.1 * left / 6 for left in (5, 4, 3, 2, 1, 0))]
    assert rates(tmp_path, epochs=2) == pytest.approx(expected)
