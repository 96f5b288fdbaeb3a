"""Training resumed with more epochs went on at a learning rate of zero.

The scheduler's checkpoint holds the number of steps of the training that
wrote it, and loading it overwrote the new number: the schedule had already
come to its end. The number of steps is now set after resuming.
"""

import pytest
from training_helpers import rates


def test_longer_training_than_the_one_resumed_has_a_longer_schedule(tmp_path):
    rates(tmp_path, epochs=1)
    expected = [0.1 * left / 6 for left in (3, 2, 1, 0)]
    assert rates(tmp_path, epochs=2) == pytest.approx(expected)
