"""A rate model that becomes the prior of its codes."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from speechbrain_acom.bottleneck import Bottleneck
from speechbrain_acom.entropy.priors import AdaptivePrior, StaticPrior
from speechbrain_acom.errors import ConfigurationError
from speechbrain_acom.inference.prior_fitting import (
    check_fitter,
    fit_prior,
    load_fitter,
)
from speechbrain_acom.quantizers import (
    Bypass,
    RateAwareVectorQuantizer,
    ResidualVectorQuantizer,
)
from speechbrain_acom.training.context_network import freeze
from speechbrain_acom.training.rate_model_prior import rate_model_prior

SHIPPED = Path(__file__).parents[2] / "hparams" / "priors" / "rate_model.yaml"


@pytest.fixture(scope="module")
def taught():
    """A quantizer whose rate model has learned a random walk's codes."""
    torch.manual_seed(0)
    quantizer = RateAwareVectorQuantizer(
        channels=6,
        num_codebooks=2,
        codebook_size=16,
        codebook_dim=4,
        recent_frames=2,
        pooled_groups=1,
        assignment_weight=0.05,
    )
    walk = torch.randn(8, 60, 6).cumsum(1) / 4
    quantizer.initialize(walk.flatten(0, 1))
    optimizer = torch.optim.Adam(quantizer.rate_model.parameters(), lr=0.02)
    quantizer.train()
    for _ in range(60):
        optimizer.zero_grad()
        quantizer(walk).losses["rate_model"].backward()
        optimizer.step()
    return quantizer.eval(), walk


def test_codes_take_the_bits_that_the_rate_model_expected(taught):
    quantizer, walk = taught
    result = quantizer(walk)
    prior = rate_model_prior([], quantizer.cardinalities, quantizer)
    bits = sum(prior.bits(codes.numpy()) for codes in result.codes)
    expected = float(result.statistics["hard_rate"])
    assert bits / (8 * 60) == pytest.approx(expected, rel=0.01)
    # What is expected is not what a table gives.
    codes = [codes.numpy() for codes in result.codes]
    static = StaticPrior.fit(codes, quantizer.cardinalities)
    assert bits < 0.8 * sum(map(static.bits, codes))


def test_fragment_gives_it_whatever_the_codes(taught):
    quantizer, _ = taught
    fitter = load_fitter(SHIPPED)
    check_fitter(fitter)
    cardinalities = quantizer.cardinalities
    prior = fit_prior(fitter, [], cardinalities, quantizer)
    same = rate_model_prior([np.zeros((3, 2))], cardinalities, quantizer)
    assert prior.content() == same.content()


def test_freezing_changes_no_weight(taught):
    quantizer, _ = taught
    model = quantizer.rate_model.in_double_precision()
    first, second = (freeze(model).content() for _ in range(2))
    assert first == second


def test_a_bottleneck_that_cannot_have_it_is_refused_before_training():
    fitter = load_fitter(SHIPPED)
    adaptive = partial(AdaptivePrior.fit, base=fitter, rate=1 / 32)
    rated = partial(RateAwareVectorQuantizer, codebook_dim=4)
    for quantizer, settings in (
        (partial(ResidualVectorQuantizer, codebook_dim=4), {}),
        (partial(rated, recent_frames=0), {}),
        # Runs have lengths, which are coded beside the codes.
        (rated, {"merge": 2, "merge_mode": "similar"}),
    ):
        bottleneck = Bottleneck(channels=6, quantizer=quantizer, **settings)
        for one in (fitter, adaptive):
            with pytest.raises(ConfigurationError, match="^prior: found"):
                check_fitter(one, bottleneck)
        check_fitter(StaticPrior.fit, bottleneck)
    for one in (fitter, adaptive):
        check_fitter(one, Bottleneck(channels=6, quantizer=rated))


def test_a_fitter_that_asks_for_codes_as_well_is_not_refused():
    def fitter(codes, cardinalities, quantizer):
        return StaticPrior.fit(codes, cardinalities)

    check_fitter(fitter, Bottleneck(channels=6, quantizer=Bypass))


def test_a_prior_that_adapts_may_start_from_it(taught):
    quantizer, walk = taught
    fitter = partial(AdaptivePrior.fit, base=rate_model_prior, rate=1 / 32)
    check_fitter(fitter)
    prior = fit_prior(fitter, [], quantizer.cardinalities, quantizer)
    base = rate_model_prior([], quantizer.cardinalities, quantizer)
    [codes] = quantizer.encode(walk[:1]).numpy()
    assert prior.bits(codes) != base.bits(codes)
    assert prior.bits(codes) == pytest.approx(base.bits(codes), rel=0.1)


@pytest.mark.parametrize(
    ("quantizer", "cardinalities", "said"),
    [
        (
            ResidualVectorQuantizer(channels=16, codebook_size=16),
            (16,),
            "ResidualVectorQuantizer with 0 rate models",
        ),
        (
            nn.ModuleList(
                RateAwareVectorQuantizer(channels=16, codebook_size=16)
                for _ in range(2)
            ),
            (16, 16),
            "ModuleList with 2 rate models",
        ),
        (
            RateAwareVectorQuantizer(channels=16, codebook_size=16),
            (9, 16),
            r"a rate model of entries \(16,\)",
        ),
    ],
)
def test_what_cannot_be_a_prior_is_named(quantizer, cardinalities, said):
    with pytest.raises(ConfigurationError, match=f"^prior: found '?{said}"):
        rate_model_prior([], cardinalities, quantizer)
