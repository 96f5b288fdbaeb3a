"""Priors: the probabilities that codes are coded with."""

from speechbrain_acom.entropy.priors.adaptive import AdaptivePrior
from speechbrain_acom.entropy.priors.attentive import AttentiveNeuralPrior
from speechbrain_acom.entropy.priors.context import ContextPrior
from speechbrain_acom.entropy.priors.contract import (
    PRECISION_BITS,
    TOTAL_FREQUENCY,
    Predictor,
    Prior,
)
from speechbrain_acom.entropy.priors.files import (
    load_prior,
    prior_digest,
    save_prior,
)
from speechbrain_acom.entropy.priors.neural import NeuralPrior
from speechbrain_acom.entropy.priors.static import StaticPrior

__all__ = [
    "PRECISION_BITS",
    "TOTAL_FREQUENCY",
    "AdaptivePrior",
    "AttentiveNeuralPrior",
    "ContextPrior",
    "NeuralPrior",
    "Predictor",
    "Prior",
    "StaticPrior",
    "load_prior",
    "prior_digest",
    "save_prior",
]
