"""Models cut in two: one file a model family, and a test for leaks."""

from speechbrain_acom.host import check_host

check_host()

from speechbrain_acom.splits.cnn14 import Cnn14Split  # noqa: E402
from speechbrain_acom.splits.conformer import ConformerSplit  # noqa: E402
from speechbrain_acom.splits.contract import (  # noqa: E402
    CloudHalf,
    CutFrames,
    DeviceHalf,
    Split,
    SplitResult,
)
from speechbrain_acom.splits.ecapa import EcapaSplit  # noqa: E402
from speechbrain_acom.splits.encoder_decoder import (  # noqa: E402
    EncoderDecoderSplit,
    TextDecoder,
)
from speechbrain_acom.splits.layers import (  # noqa: E402
    ClassifierSplit,
    LayeredSplit,
)
from speechbrain_acom.splits.leak import (  # noqa: E402
    LeakError,
    check_no_leak,
    code_leak,
    gradient_leak,
)
from speechbrain_acom.splits.second_encoder import (  # noqa: E402
    FilterBankEncoder,
    LastChannels,
    SecondEncoder,
)
from speechbrain_acom.splits.sequential import (  # noqa: E402
    SequentialSplit,
)
from speechbrain_acom.splits.slim_cnn14 import SlimCnn14  # noqa: E402

__all__ = [
    "ClassifierSplit",
    "CloudHalf",
    "Cnn14Split",
    "ConformerSplit",
    "CutFrames",
    "DeviceHalf",
    "EcapaSplit",
    "EncoderDecoderSplit",
    "FilterBankEncoder",
    "LastChannels",
    "LayeredSplit",
    "LeakError",
    "SecondEncoder",
    "SequentialSplit",
    "SlimCnn14",
    "Split",
    "SplitResult",
    "TextDecoder",
    "check_no_leak",
    "code_leak",
    "gradient_leak",
]
