"""Quantizers of other libraries under the contract of this package."""

from speechbrain_acom.quantizers.adapters.base import AdaptedQuantizer
from speechbrain_acom.quantizers.adapters.bsq import AdaptedBSQ
from speechbrain_acom.quantizers.adapters.dac import AdaptedDAC
from speechbrain_acom.quantizers.adapters.finite_scalar import (
    AdaptedFSQ,
    AdaptedResidualFSQ,
)
from speechbrain_acom.quantizers.adapters.lookup_free import AdaptedLFQ
from speechbrain_acom.quantizers.adapters.residual_vq import AdaptedResidualVQ
from speechbrain_acom.quantizers.adapters.sim_vq import AdaptedSimVQ
from speechbrain_acom.quantizers.adapters.unmasked_dac import UnmaskedDAC

__all__ = [
    "AdaptedBSQ",
    "AdaptedDAC",
    "AdaptedFSQ",
    "AdaptedLFQ",
    "AdaptedQuantizer",
    "AdaptedResidualFSQ",
    "AdaptedResidualVQ",
    "AdaptedSimVQ",
    "UnmaskedDAC",
]
