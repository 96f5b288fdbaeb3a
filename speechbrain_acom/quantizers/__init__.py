"""Quantizers that can stand in the cut."""

from speechbrain_acom.quantizers.bypass import Bypass
from speechbrain_acom.quantizers.contract import Quantizer, QuantizerResult
from speechbrain_acom.quantizers.decomposition import decompose
from speechbrain_acom.quantizers.finite_scalar import FiniteScalarQuantizer
from speechbrain_acom.quantizers.frames import FrameQuantizer, QuantizedFrames
from speechbrain_acom.quantizers.grouped import GroupedQuantizer
from speechbrain_acom.quantizers.rate_aware import RateAwareVectorQuantizer
from speechbrain_acom.quantizers.residual import ResidualVectorQuantizer
from speechbrain_acom.quantizers.residual_finite_scalar import (
    ResidualFiniteScalarQuantizer,
)
from speechbrain_acom.quantizers.scalar import ScalarQuantizer
from speechbrain_acom.quantizers.semantic import (
    SemanticResidualVectorQuantizer,
    TaughtResidualVectorQuantizer,
)

__all__ = [
    "Bypass",
    "FiniteScalarQuantizer",
    "FrameQuantizer",
    "GroupedQuantizer",
    "QuantizedFrames",
    "Quantizer",
    "QuantizerResult",
    "RateAwareVectorQuantizer",
    "ResidualFiniteScalarQuantizer",
    "ResidualVectorQuantizer",
    "ScalarQuantizer",
    "SemanticResidualVectorQuantizer",
    "TaughtResidualVectorQuantizer",
    "decompose",
]
