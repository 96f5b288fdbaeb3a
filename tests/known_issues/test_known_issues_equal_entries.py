"""Which of two equal codebook entries won depended on the batch.

The nearest entry is searched with a product of matrices, whose rounding
depends on its shape and on the column. Equal entries won in turn, so an
utterance had other codes alone than in a batch. Of entries that are equally
near up to rounding, the first now wins.
"""

import pytest
import torch

from speechbrain_acom.quantizers.nearest import nearest_entries


@pytest.mark.parametrize("frames", [1, 7, 64, 333])
def test_of_equal_entries_the_first_wins(frames):
    torch.manual_seed(0)
    entries = torch.randn(50, 24).repeat(7, 1)
    found = nearest_entries(torch.randn(frames, 24), entries)
    assert (found < 50).all()
