"""Product and grouped quantizers that keep the contract."""

from functools import partial

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
