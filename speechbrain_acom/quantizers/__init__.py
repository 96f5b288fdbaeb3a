"""Quantizers that can stand in the cut."""

from speechbrain_acom.quantizers.bypass import Bypass
from speechbrain_acom.quantizers.contract import Quantizer, QuantizerResult
from speechbrain_acom.quantizers.frames import FrameQuantizer, QuantizedFrames
from speechbrain_acom.quantizers.residual import ResidualVectorQuantizer

__all__ = [
    "Bypass",
    "FrameQuantizer",
    "QuantizedFrames",
    "Quantizer",
    "QuantizerResult",
    "ResidualVectorQuantizer",
]
