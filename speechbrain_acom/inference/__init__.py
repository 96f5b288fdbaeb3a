"""Running a coded model: the whole of it, or one half on each machine."""

from speechbrain_acom.host import check_host

check_host()

from speechbrain_acom.inference.export import copy_half  # noqa: E402
from speechbrain_acom.inference.interfaces import (  # noqa: E402
    AcomInterface,
)
from speechbrain_acom.inference.prior_fitting import (  # noqa: E402
    load_fitter,
    refit_prior,
)
from speechbrain_acom.inference.session import AcomSession  # noqa: E402
from speechbrain_acom.inference.streaming import (  # noqa: E402
    AcomStreamDecoder,
    AcomStreamEncoder,
)
from speechbrain_acom.inference.tasks import (  # noqa: E402
    AcomASR,
    AcomClassifier,
    AcomEncoderDecoderASR,
    Label,
    load_interface,
)

__all__ = [
    "AcomASR",
    "AcomClassifier",
    "AcomEncoderDecoderASR",
    "AcomInterface",
    "AcomSession",
    "AcomStreamDecoder",
    "AcomStreamEncoder",
    "Label",
    "copy_half",
    "load_fitter",
    "load_interface",
    "refit_prior",
]
