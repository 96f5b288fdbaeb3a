"""Two runs with one seed gave two different corpora of speech.

espeak-ng seeds the noise of its breathy voices from the clock, in whole
seconds, when it starts. The seed is now set after the start, and every voice
speaks in a process of its own.
"""

import time
from importlib.util import find_spec

import numpy as np
import pytest

from speechbrain_acom.corpora.espeak import EspeakProcess, Voice
from speechbrain_acom.corpora.speech import (
    DEV_VARIANTS,
    TRAIN_VARIANTS,
    speakers,
)


def said_by(voice):
    with EspeakProcess(voice) as espeak:
        espeak.say("zero one")
        return espeak.say("turn the light off")


@pytest.mark.skipif(
    find_spec("espeakng_loader") is None,
    reason="the optional package espeakng_loader is not installed",
)
def test_every_variant_speaks_the_same_in_two_fresh_processes():
    voices = [Voice(f"en+{v}") for v in (*TRAIN_VARIANTS, *DEV_VARIANTS)]
    voices += [Voice(speaker.voice) for speaker in speakers("test")]
    first = [said_by(voice) for voice in voices]
    time.sleep(1.1)  # the clock shows another second
    for voice, samples in zip(voices, first, strict=True):
        assert np.array_equal(samples, said_by(voice)), voice.name
        assert 0.1 < np.max(np.abs(samples)) < 0.999, voice.name
