"""Product and grouped quantizers that keep the contract."""

from functools import partial

import torch
from round_trips import small_residual

from speechbrain_acom.quantizers import (
    GroupedQuantizer,
    ResidualVectorQuantizer,
)

_group = partial(
    ResidualVectorQuantizer,
    codebook_size=8,
    codebook_dim=None,
    kmeans_iterations=3,
)
LOBES = {
    "product": partial(GroupedQuantizer, num_groups=3, quantizer=_group),
    "grouped": partial(
        GroupedQuantizer,
        num_groups=2,
        quantizer=partial(_group, num_codebooks=3, codebook_dim=2),
    ),
    "grouped_ema_dropout": partial(
        GroupedQuantizer,
        num_groups=2,
        quantizer=partial(
            _group,
            num_codebooks=2,
            codebook_update="ema",
            quantizer_dropout=0.5,
        ),
    ),
}


def _small(lobe):
    """Two channels a group, neither centred nor in their own order."""
    channels = 2 * lobe.keywords["num_groups"]
    group = partial(small_residual, lobe.keywords["quantizer"])
    quantizer = lobe(channels=channels, quantizer=group)
    quantizer.mean.fill_(3.0)
    quantizer.rotation.copy_(torch.eye(channels).roll(1, 0))
    return quantizer


ROUND_TRIPS = {name: partial(_small, lobe) for name, lobe in LOBES.items()}
