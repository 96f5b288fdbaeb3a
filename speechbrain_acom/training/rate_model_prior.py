"""The rate model of a quantizer as the prior of its codes."""

from collections.abc import Iterable, Sequence

import numpy as np
from torch import nn

from speechbrain_acom.entropy.priors.neural import NeuralPrior
from speechbrain_acom.errors import ConfigurationError
from speechbrain_acom.quantizers.rate_model import RateModel
from speechbrain_acom.training.context_network import freeze
from speechbrain_acom.training.rate import rate_models


def rate_model_prior(
    codes: Iterable[np.ndarray],
    cardinalities: Sequence[int],
    quantizer: nn.Module,
) -> NeuralPrior:
    """Round the rate model that codes were chosen by; nothing is fitted.

    It has learned beside the features, from augmented audio, where a prior that
    is fitted afterwards sees the training utterances as they are, again and
    again, and learns them by heart.

    Arguments
    ---------
    codes : Iterable[np.ndarray]
        Not looked at.
    cardinalities : Sequence[int]
        Entries per codebook, coarse to fine.
    quantizer : nn.Module
        It holds the rate model.

    Returns
    -------
    NeuralPrior
        The rate model in integers.

    Raises
    ------
    ConfigurationError
        If the quantizer has no rate model, more than one, or one of other
        codebooks than are coded.

    Example
    -------
    >>> import torch
    >>> from speechbrain_acom.quantizers import RateAwareVectorQuantizer
    >>> quantizer = RateAwareVectorQuantizer(channels=8, codebook_dim=4)
    >>> prior = rate_model_prior([], quantizer.cardinalities, quantizer)
    >>> prior.bits([[7], [9]])
    16.0
    """
    model = _rate_model(quantizer)
    if model.cardinalities != tuple(cardinalities):
        raise ConfigurationError(
            "prior",
            f"a rate model of entries {model.cardinalities}",
            f"one of {tuple(cardinalities)}, as many as are coded: run "
            "lengths, for one, need another prior",
        )
    return freeze(model)


def _rate_model(quantizer: nn.Module) -> RateModel:
    models = rate_models(quantizer)
    if len(models) != 1:
        raise ConfigurationError(
            "prior",
            f"{type(quantizer).__name__} with {len(models)} rate models",
            "one, as in hparams/quantizers/rvq_rate.yaml; in an export only "
            "with an assignment_weight above 0",
        )
    return models[0]
