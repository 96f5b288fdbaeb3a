"""The coders that the entropy benchmark compares, fitted on training codes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from time import perf_counter

from code_coders import (
    ArchiveCoder,
    CodeCoder,
    FixedCoder,
    HuffmanCoder,
    PriorCoder,
)
from code_sets import CodeSet
from float_network import FloatNetworkCoder, FloatNetworkPrior, fit_neural
from tqdm import tqdm
from transformer_prior import TransformerCoder, TransformerPrior
from transformer_training import fit_transformer

from speechbrain_acom.entropy.priors import AdaptivePrior, Prior
from speechbrain_acom.errors import ConfigurationError
from speechbrain_acom.inference import load_fitter
from speechbrain_acom.studies.results import Row

FRAGMENTS = Path(__file__).parents[1] / "hparams" / "priors"
BASE, NEURAL, ADAPTIVE = "static", "neural", "adaptive"
# Of no codes alone: the model that comes with the codes has it, or has not.
RATE_MODEL, SHIPPED = "rate_model", "shipped"
FIXED, HUFFMAN, ARCHIVES = "fixed", "huffman", ("zlib", "xz")
NEURAL_FLOAT, TRANSFORMER = "neural_float", "transformer"
# All utterances as one: what an archive takes, or one long stream.
AT_ONCE = "_at_once"
# Of the transformer, where there is no neural prior to be like.
PARAMETERS, EPOCHS, PATIENCE = 100_000, 40, 5


@dataclass(frozen=True)
class Contestant:
    """A coder that has learned what it can.

    Arguments
    ---------
    name : str
        What rows call it.
    coder : CodeCoder
        The coder.
    columns : Row
        What rows say about how it learned.
    at_once : bool
        Whether all utterances are coded as one.
    """

    name: str
    coder: CodeCoder
    columns: Row = field(default_factory=dict)
    at_once: bool = False


def known_coders() -> list[str]:
    """Names of all coders, each after those that it depends on."""
    fragments = {path.stem for path in FRAGMENTS.glob("*.yaml")}
    fitted = sorted(fragments - {BASE, ADAPTIVE, RATE_MODEL})
    ours = [BASE, *fitted, SHIPPED, ADAPTIVE]
    return [*ours, FIXED, HUFFMAN, *ARCHIVES, NEURAL_FLOAT, TRANSFORMER]


class Fitting:
    """Fits coders one after the other on the same codes.

    Arguments
    ---------
    train : CodeSet
        What all learn from.
    seed : int
        Of the transformer.
    shipped : Prior | None
        The prior of the model that gave the codes, where it is not static.
    epochs : int | None
        Of the networks, at most; None: those of the neural prior's YAML.
    """

    def __init__(
        self,
        train: CodeSet,
        seed: int,
        shipped: Prior | None = None,
        epochs: int | None = None,
    ) -> None:
        self._shipped = shipped
        self._changed = {} if epochs is None else {"epochs": epochs}
        self._codes, self._sizes = train.utterances, train.cardinalities
        self._seed = seed
        self._priors: dict[str, Prior] = {}
        self._float_network: FloatNetworkPrior | None = None
        self._parameters = PARAMETERS
        self._epochs, self._patience = EPOCHS, PATIENCE

    def fit(self, name: str) -> Iterator[Contestant]:
        """All that a name stands for.

        Arguments
        ---------
        name : str
            One of :func:`known_coders`.

        Yields
        ------
        Contestant
            Archives see the messages one by one, then all at once, and so
            does the static prior, to compare with. Adaptive priors stand on
            each of the priors that were fitted before, and see both too.

        Raises
        ------
        ConfigurationError
            If the float network is wanted and the neural prior was not.
        """
        if name == FIXED:
            yield Contestant(name, FixedCoder(self._sizes))
        elif name == HUFFMAN:
            coder = HuffmanCoder.fit(self._codes, self._sizes)
            yield Contestant(name, coder)
        elif name in ARCHIVES:
            coder = ArchiveCoder.fit(name, self._codes, self._sizes)
            yield from _both(name, coder)
        elif name == NEURAL:
            yield self._neural()
        elif name == NEURAL_FLOAT:
            yield self._neural_float()
        elif name == TRANSFORMER:
            yield self._transformer()
        elif name == SHIPPED:
            yield from self._of_the_model()
        elif name == ADAPTIVE:
            yield from self._adaptive()
        elif name == BASE:
            yield from _both(name, *self._prior(name))
        else:
            yield Contestant(name, *self._prior(name))

    def _prior(self, name: str) -> tuple[CodeCoder, Row]:
        start = perf_counter()
        prior = _fitter(name)(self._codes, self._sizes)
        self._priors[name] = prior
        return PriorCoder(prior), {"fit_s": perf_counter() - start}

    def _of_the_model(self) -> Iterator[Contestant]:
        if self._shipped is not None:
            self._priors[SHIPPED] = self._shipped
            columns = {"prior": type(self._shipped).__name__}
            yield Contestant(SHIPPED, PriorCoder(self._shipped), columns)

    def _neural(self) -> Contestant:
        fitter = partial(_fitter(NEURAL), **self._changed)
        start = perf_counter()
        fitted = fit_neural(fitter, self._codes, self._sizes)
        seconds = perf_counter() - start
        self._priors[NEURAL] = fitted.prior
        self._float_network = FloatNetworkPrior(fitted.network)
        self._parameters = fitted.prior.parameters
        self._epochs = fitter.keywords.get("epochs", EPOCHS)
        self._patience = fitter.keywords.get("patience", PATIENCE)
        columns = self._learned(seconds, self._parameters, fitted.epochs)
        return Contestant(NEURAL, PriorCoder(fitted.prior), columns)

    def _neural_float(self) -> Contestant:
        if self._float_network is None:
            raise ConfigurationError(
                "coders", NEURAL_FLOAT, f"{NEURAL} as well, which it is of"
            )
        coder = FloatNetworkCoder(self._float_network)
        return Contestant(NEURAL_FLOAT, coder, {"parameters": self._parameters})

    def _adaptive(self) -> Iterator[Contestant]:
        fitter = _fitter(ADAPTIVE)
        for name, prior in self._priors.items():
            if isinstance(prior, AdaptivePrior):
                continue  # as a model may ship one
            adaptive = fitter(
                self._codes, self._sizes, base=lambda *_, prior=prior: prior
            )
            yield from _both(f"{ADAPTIVE}_{name}", PriorCoder(adaptive))

    def _transformer(self) -> Contestant:
        start = perf_counter()
        fitted = fit_transformer(
            self._codes,
            self._sizes,
            self._parameters,
            self._epochs,
            self._patience,
            self._seed,
            tqdm.write,
        )
        model = fitted.model
        columns = self._learned(
            perf_counter() - start, model.parameter_count, fitted.epochs
        )
        columns["tied_weights"] = "yes" if model.tied else "no"
        coder = TransformerCoder(TransformerPrior(model))
        return Contestant(TRANSFORMER, coder, columns)

    def _learned(self, seconds: float, parameters: int, epochs: int) -> Row:
        """Columns of a network; one that was stopped might learn more."""
        stopped = epochs >= self._epochs
        return {
            "fit_s": seconds,
            "parameters": parameters,
            "epochs_at_most": self._epochs,
            "epochs": epochs,
            "stopped_by_epoch_limit": "yes" if stopped else "no",
        }


def _both(
    name: str, coder: CodeCoder, columns: Row | None = None
) -> Sequence[Contestant]:
    return (
        Contestant(name, coder, columns or {}),
        Contestant(name + AT_ONCE, coder, columns or {}, at_once=True),
    )


def _fitter(name: str) -> Callable[..., Prior]:
    return load_fitter(FRAGMENTS / f"{name}.yaml")
