"""Starting the quantizer changed the statistics of a pretrained normalizer.

The batches that the quantizer starts from went through the normalizer in
training mode, so the pretrained model no longer saw the features that it was
trained on. A normalizer that has statistics now keeps them; only one without
any learns them from these batches.
"""

import torch
from training_helpers import CHANNELS, brain_in, dataset_of, fit


def test_normalizer_with_statistics_stays_as_it_is(tmp_path):
    brain = brain_in(tmp_path, epochs=0)
    normalize = brain.modules.normalize
    normalize.count = 1
    normalize.glob_mean = torch.full((CHANNELS,), 7.0)
    normalize.glob_std = torch.full((CHANNELS,), 2.0)
    fit(brain, dataset_of([5, 3, 4]))
    assert normalize.count == 1
    assert normalize.glob_mean.tolist() == [7.0] * CHANNELS
    assert normalize.glob_std.tolist() == [2.0] * CHANNELS
