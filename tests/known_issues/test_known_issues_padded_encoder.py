"""A second encoder of the waveform read the padding of the batch.

With self-attention or a norm over time, as HuBERT and its like have them, all
its frames then depended on how long the other utterances were, and so did the
codes. It now reads every utterance on its own, without padding.
"""

import numpy as np
import torch
from training_helpers import (
    CHANNELS,
    LOADER,
    brain_in,
    dataset_of,
    fit,
    frames_of,
)

from speechbrain_acom.features import EncodedFeatures, FrozenEncoder


class CentredEncoder(torch.nn.Module):
    """Its frames of one channel depend on the whole signal."""

    def forward(self, signals):
        loudness = frames_of(signals).abs().mean(2, keepdim=True)
        return 10 * (loudness - loudness.mean(1, keepdim=True))


def all_but_one(signals):
    return frames_of(signals)[..., 1:]


def test_codes_do_not_depend_on_the_batch(tmp_path):
    compute_features = EncodedFeatures(
        all_but_one,
        FrozenEncoder(CentredEncoder(), 1),
        frames_per_step=1,
        shortest=CHANNELS,
    )
    data = dataset_of([9, 2, 7, 3])
    brain = fit(brain_in(tmp_path, compute_features=compute_features), data)
    batches = brain.training_codes(data, LOADER)
    alone = brain.training_codes(data, {**LOADER, "batch_size": 1})
    for row, expected in zip(batches, alone, strict=True):
        assert np.array_equal(row, expected)
