"""Messages to test with."""

import numpy as np

from speechbrain_acom.entropy.bitstream import read_message
from speechbrain_acom.entropy.container import CRC_END, OLD_CRC_END, crc8
from speechbrain_acom.entropy.framing import Framing
from speechbrain_acom.entropy.priors import StaticPrior

PAIRS = Framing(merge=2)
RUNS = Framing(run_lengths=True)
MODEL = b"\xca\xfe"


def skewed_prior() -> StaticPrior:
    random = np.random.default_rng(11)
    codes = random.geometric(0.2, (500, 2)).clip(max=16) - 1
    return StaticPrior.fit([codes], (16, 16))


def skewed_codes(seed, num_frames) -> np.ndarray:
    random = np.random.default_rng(seed)
    return random.geometric(0.2, (num_frames, 2)).clip(max=16) - 1


def sealed(body: bytes) -> bytes:
    """A message with a right checksum, whatever stands in it."""
    old = body[:1] in (b"\xa1", b"\xa2")
    return body + bytes([crc8(body, OLD_CRC_END if old else CRC_END)])


def read(message: bytes):
    return read_message(message, skewed_prior(), MODEL)
