"""Training a cut model: the Brain classes that recipes use."""

from speechbrain_acom.host import check_host

check_host()

from speechbrain_acom.training.any_brain import (  # noqa: E402
    start_from_data,
    training_codes,
)
from speechbrain_acom.training.brain import AcomBrain  # noqa: E402
from speechbrain_acom.training.classification import (  # noqa: E402
    ClassificationBrain,
)
from speechbrain_acom.training.ctc import CTCBrain  # noqa: E402
from speechbrain_acom.training.encoder_decoder import (  # noqa: E402
    EncoderDecoderBrain,
)

__all__ = [
    "AcomBrain",
    "CTCBrain",
    "ClassificationBrain",
    "EncoderDecoderBrain",
    "start_from_data",
    "training_codes",
]
