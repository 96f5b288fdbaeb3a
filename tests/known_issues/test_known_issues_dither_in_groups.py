"""Groups drew dither once for a batch, not for every utterance.

They were given the frames of all utterances as if they were of one, so that
whole batches were trained with noise, and others with none.
"""

from functools import partial

import torch

from speechbrain_acom.quantizers import (
    GroupedQuantizer,
    ResidualFiniteScalarQuantizer,
)


def test_utterances_of_a_batch_differ_in_what_is_drawn_for_them():
    torch.manual_seed(0)
    group = partial(
        ResidualFiniteScalarQuantizer, levels=[[5, 5]], scales=[1.0]
    )
    quantizer = GroupedQuantizer(4, 2, group).train()
    features = torch.randn(1, 3, 4).expand(64, 3, 4)
    rounded = quantizer.eval()(features).features
    dithered = quantizer.train()(features).features
    equal = (dithered - rounded).abs().amax((1, 2)) < 1e-4
    # A quarter is rounded in each of the two groups, so a sixteenth in both.
    assert 0 < equal.sum() < 20
    # What is not rounded has noise or is not quantized at all.
    assert len(dithered[~equal].flatten(1).unique(dim=0)) > 10
