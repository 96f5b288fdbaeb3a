"""Bit rate of coded utterances: four numbers, pooled over a whole set."""

import math
from dataclasses import dataclass

import numpy as np

from speechbrain_acom.entropy.priors import Prior
from speechbrain_acom.errors import DataError


@dataclass(frozen=True)
class Rate:
    """Bits per second of audio, all bits of a set over all its seconds.

    Arguments
    ---------
    nominal_bps : float
        Code frames times the sum of log2 V: what fixed-length codes cost.
    cross_entropy_bps : float
        Ideal size of the codes under the prior that is shipped.
    payload_bps : float
        Bytes that the coder wrote.
    message_bps : float
        Whole messages, container included: what is really sent.
    """

    nominal_bps: float
    cross_entropy_bps: float
    payload_bps: float
    message_bps: float


class RateMeter:
    """Adds up the bits and the seconds of utterances.

    The entropy of an utterance's own code histogram is not measured: of T
    codes it is at most log2 T, whatever the source, and no decoder knows that
    histogram. The mean of it over short utterances reads far too low. Here
    the probabilities come from the prior, which was fitted on other data.

    Arguments
    ---------
    prior : Prior
        The prior that the messages were coded with.

    Example
    -------
    >>> from speechbrain_acom.entropy.priors import StaticPrior
    >>> codes = np.array([[0], [1], [0], [0]])
    >>> meter = RateMeter(StaticPrior.fit([codes], cardinalities=(2,)))
    >>> meter.add(codes, payload_bytes=1, message_bytes=6, seconds=0.16)
    >>> meter.rate().message_bps
    300.0
    """

    def __init__(self, prior: Prior) -> None:
        self.prior = prior
        self._bits_per_frame = sum(math.log2(v) for v in prior.cardinalities)
        self._nominal_bits = 0.0
        self._cross_entropy_bits = 0.0
        self._payload_bits = 0
        self._message_bits = 0
        self._seconds = 0.0

    def add(
        self,
        codes: np.ndarray,
        payload_bytes: int,
        message_bytes: int,
        seconds: float,
    ) -> None:
        """Count one utterance.

        Arguments
        ---------
        codes : np.ndarray
            The decoded codes, integers, shape (code frame, K).
        payload_bytes : int
            Size of the payload that they were decoded from.
        message_bytes : int
            Size of the whole message.
        seconds : float
            Duration of the audio.

        Raises
        ------
        DataError
            If the duration is negative or not a number.
        ConfigurationError
            If ``codes`` are not integers with K columns.
        BitstreamError
            If a code is not an entry of its codebook.
        """
        if not 0 <= seconds < math.inf:
            raise DataError(
                f"rate: found an utterance of {seconds} seconds, expected a "
                "duration of 0 or more: skip it"
            )
        self._cross_entropy_bits += self.prior.bits(codes)
        self._nominal_bits += len(codes) * self._bits_per_frame
        self._payload_bits += 8 * payload_bytes
        self._message_bits += 8 * message_bytes
        self._seconds += seconds

    def rate(self) -> Rate:
        """Pooled rates of all that was added.

        Returns
        -------
        Rate
            Four rates in bit/s.

        Raises
        ------
        DataError
            If no audio was added.
        """
        if self._seconds == 0:
            raise DataError(
                "rate: found 0 seconds of audio, expected at least one "
                "utterance: add utterances before asking for their rate"
            )
        return Rate(
            nominal_bps=self._nominal_bits / self._seconds,
            cross_entropy_bps=self._cross_entropy_bits / self._seconds,
            payload_bps=self._payload_bits / self._seconds,
            message_bps=self._message_bits / self._seconds,
        )
