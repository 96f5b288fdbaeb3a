"""A message of seven bytes kept a reader busy for as long as it liked.

Where a prior is next to certain of a code, frames cost next to no bytes, and a
reader decoded as many as a message said: 65536 frames, seconds with a slow
prior. Readers now take a number of frames in proportion to the bytes, or as
many as they are told to, and refuse more before they decode any.
"""

import numpy as np
import pytest

from speechbrain_acom.entropy.bitstream import read_message
from speechbrain_acom.entropy.container import crc8
from speechbrain_acom.entropy.priors import AdaptivePrior, StaticPrior
from speechbrain_acom.errors import BitstreamError


class Unused(AdaptivePrior):
    def predictor(self):
        raise AssertionError("codes were decoded")


@pytest.mark.parametrize("first", [b"\xa8", b"\xa9"])
def test_few_bytes_of_many_frames_are_refused(first):
    prior = Unused(StaticPrior([np.array([65535, 1])]), strength=32)
    message = first + b"\xca\xfe\x80\x80\x04"
    if first == b"\xa9":
        message += bytes([crc8(message)])
    with pytest.raises(BitstreamError, match="found 65536 frames, expected at"):
        read_message(message, prior, b"\xca\xfe")
