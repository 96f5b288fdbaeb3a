"""The kinds of priors that stand on their own, by the byte of their files."""

from speechbrain_acom.entropy.priors.attentive import AttentiveNeuralPrior
from speechbrain_acom.entropy.priors.context import ContextPrior
from speechbrain_acom.entropy.priors.contract import Prior
from speechbrain_acom.entropy.priors.neural import NeuralPrior
from speechbrain_acom.entropy.priors.static import StaticPrior

BASE_KINDS: dict[int, type[Prior]] = {
    kind.KIND: kind
    for kind in (StaticPrior, ContextPrior, NeuralPrior, AttentiveNeuralPrior)
}
