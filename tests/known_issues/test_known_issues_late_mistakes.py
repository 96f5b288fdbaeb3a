"""Mistakes in settings that showed only after a training, or as a TypeError.

A fragment of a prior was only bound to its arguments; a ramp of λ longer than
the training left no checkpoint behind it; a coded length took any prior.
"""

import re
from functools import partial

import numpy as np
import pytest

from speechbrain_acom.entropy.endings import CodedLength
from speechbrain_acom.entropy.priors import (
    AdaptivePrior,
    ContextPrior,
    StaticPrior,
)
from speechbrain_acom.errors import ConfigurationError
from speechbrain_acom.inference.prior_fitting import check_fitter
from speechbrain_acom.quantizers import RateAwareVectorQuantizer
from speechbrain_acom.training.neural_prior import fit_neural_prior
from speechbrain_acom.training.rate import RateSchedule


@pytest.mark.parametrize(
    ("fitter", "said"),
    [
        (partial(ContextPrior.fit, order=99), "order: found 99"),
        (partial(ContextPrior.fit, order="3"), "order: found '3'"),
        (partial(ContextPrior.fit, coarser=1.5), "coarser: found 1.5"),
        (partial(AdaptivePrior.fit, rate="fast"), "rate: found 'fast'"),
        (partial(AdaptivePrior.fit, base="static"), "base: found 'static'"),
        (
            partial(
                AdaptivePrior.fit, base=partial(ContextPrior.fit, order=99)
            ),
            "order: found 99",
        ),
        (partial(fit_neural_prior, key_frames=9), "key_frames: found 9"),
        (partial(fit_neural_prior, epochs=0), "epochs: found 0"),
    ],
)
def test_a_mistake_in_a_fragment_shows_without_codes(fitter, said):
    with pytest.raises(ConfigurationError, match=f"^{re.escape(said)}"):
        check_fitter(fitter)


def test_fitters_that_cannot_do_without_codes_are_none_the_worse():
    def fit(codes, cardinalities):
        return StaticPrior([np.bincount(np.concatenate(codes)[:, 0])])

    check_fitter(fit)


def test_a_ramp_longer_than_the_training_is_refused():
    quantizer = RateAwareVectorQuantizer(
        channels=8, codebook_size=4, codebook_dim=4
    )
    RateSchedule(0.1, 6.0).begin(quantizer, 10, epochs=6)
    RateSchedule(0.0, 7.0).begin(quantizer, 10, epochs=6)
    said = "rate_ramp_epochs: found 7.0, expected at most number_of_epochs, 6"
    with pytest.raises(ConfigurationError, match=said):
        RateSchedule(0.1, 7.0).begin(quantizer, 10, epochs=6)


def test_a_coded_length_needs_its_classes():
    with pytest.raises(ConfigurationError, match=r"expected \(64,\)"):
        CodedLength(StaticPrior([np.array([1 << 15, 1 << 15])]))
