"""Groups that a training step did not use had no gradient at all.

With fewer codebooks than groups, asked for by name, DistributedDataParallel
waited for the groups that had none. And the groups' codebooks together could
be more than a message can hold, which only the coder noticed.
"""

from functools import partial

import pytest
import torch

from speechbrain_acom.errors import ConfigurationError
from speechbrain_acom.quantizers import (
    GroupedQuantizer,
    ResidualVectorQuantizer,
)


def test_unused_groups_get_a_gradient_of_zero():
    group = partial(ResidualVectorQuantizer, codebook_size=4, codebook_dim=2)
    quantizer = GroupedQuantizer(8, 4, group).train()
    result = quantizer(torch.randn(2, 9, 8), num_codebooks=2)
    (result.features.square().mean() + result.loss).backward()
    gradients = {
        name: weights.grad for name, weights in quantizer.named_parameters()
    }
    assert all(gradient is not None for gradient in gradients.values())
    used = {name for name, gradient in gradients.items() if gradient.any()}
    assert {name.split(".")[1] for name in used} == {"0", "1"}


def test_codebooks_of_all_groups_are_counted():
    group = partial(
        ResidualVectorQuantizer,
        num_codebooks=2,
        codebook_size=1,
        codebook_dim=None,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("speechbrain_acom.quantizers.settings.MAX_CODEBOOKS", 7)
        GroupedQuantizer(6, 3, group)
        with pytest.raises(ConfigurationError, match="found 8, .* 1 to 7"):
            GroupedQuantizer(8, 4, group)
