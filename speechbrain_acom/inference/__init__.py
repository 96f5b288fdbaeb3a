"""Running a coded model: the whole of it, or one half on each machine."""

from speechbrain_acom.host import check_host

check_host()

from speechbrain_acom.inference.interfaces import (  # noqa: E402
    AcomASR,
    AcomClassifier,
    AcomInterface,
    Label,
    load_interface,
)

__all__ = [
    "AcomASR",
    "AcomClassifier",
    "AcomInterface",
    "Label",
    "load_interface",
]
