"""A prior was made of a rate model that no training had touched.

A quantizer that chooses the nearest entries needs its rate model in training
only, and no export has its weights. But a model loaded from an export had a
new one, and ``acom fit-prior`` with ``rate_model.yaml`` took that.
"""

import exported_models
import pytest
from ruamel.yaml import YAML

from speechbrain_acom.errors import ConfigurationError
from speechbrain_acom.inference import load_fitter, load_interface
from speechbrain_acom.inference.prior_fitting import fit_prior

PRIORS = exported_models.RECIPES.parent / "hparams" / "priors"
FITTER = PRIORS / "rate_model.yaml"


@pytest.mark.parametrize("assignment_weight", [0.0, 0.1])
def test_only_a_trained_rate_model_becomes_a_prior(assignment_weight, tmp_path):
    tag = "!name:speechbrain_acom.quantizers.RateAwareVectorQuantizer"
    settings = f"{{codebook_dim: 4, assignment_weight: {assignment_weight}}}"
    quantizer = YAML().load(f"{tag} {settings}")
    exported = exported_models.tiny_cnn14(tmp_path, quantizer=quantizer)
    bottleneck = load_interface(exported.folder).bottleneck

    def prior():
        codebooks = bottleneck.cardinalities, bottleneck.quantizer
        return fit_prior(load_fitter(FITTER), [], *codebooks)

    if assignment_weight:
        assert prior().cardinalities == bottleneck.cardinalities
    else:
        with pytest.raises(ConfigurationError, match="with 0 rate models"):
            prior()
