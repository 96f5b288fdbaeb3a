"""The coders that the entropy benchmark compares, fitted on training codes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
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
from frame_transformer import fit_transformer
from tqdm import tqdm
from transformer_prior import TransformerCoder, TransformerPrior

from speechbrain_acom.entropy.priors import NeuralPrior, Prior
from speechbrain_acom.inference import load_fitter
from speechbrain_acom.studies.results import Row

FRAGMENTS = Path(__file__).parents[1] / "hparams" / "priors"
BASE, NEURAL, ADAPTIVE = "static", "neural", "adaptive"
FIXED, HUFFMAN, ARCHIVES = "fixed", "huffman", ("zlib", "xz")
TRANSFORMER = "transformer"
# All utterances as one: what an archive takes, or one long stream.
AT_ONCE = "_at_once"
# Of the transformer, where there is no neural prior to be like.
PARAMETERS, EPOCHS = 100_000, 20


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
    ours = [BASE, *sorted(fragments - {BASE, ADAPTIVE}), ADAPTIVE]
    return [*ours, FIXED, HUFFMAN, *ARCHIVES, TRANSFORMER]


class Fitting:
    """Fits coders one after the other on the same codes.

    Arguments
    ---------
    train : CodeSet
        What all learn from.
    seed : int
        Of the transformer.
    """

    def __init__(self, train: CodeSet, seed: int) -> None:
        self._codes, self._sizes = train.utterances, train.cardinalities
        self._seed = seed
        self._priors: dict[str, Prior] = {}
        self._epochs = EPOCHS

    def fit(self, name: str) -> Iterator[Contestant]:
        """All that a name stands for.

        Arguments
        ---------
        name : str
            One of :func:`known_coders`.

        Yields
        ------
        Contestant
            Archives see the messages one by one, then all at once. Adaptive
            priors stand on each of the priors that were fitted before, and
            see both too.
        """
        if name == FIXED:
            yield Contestant(name, FixedCoder(self._sizes))
        elif name == HUFFMAN:
            coder = HuffmanCoder.fit(self._codes, self._sizes)
            yield Contestant(name, coder)
        elif name in ARCHIVES:
            coder = ArchiveCoder.fit(name, self._codes, self._sizes)
            yield from _both(name, coder)
        elif name == TRANSFORMER:
            yield self._transformer()
        elif name == ADAPTIVE:
            yield from self._adaptive()
        else:
            yield self._prior(name)

    def _prior(self, name: str) -> Contestant:
        fitter, start = _fitter(name), perf_counter()
        prior = fitter(self._codes, self._sizes)
        self._priors[name] = prior
        columns: Row = {"fit_s": perf_counter() - start}
        if isinstance(prior, NeuralPrior):
            self._epochs = fitter.keywords["epochs"]
            columns["parameters"] = prior.parameters
            columns["epochs_at_most"] = self._epochs
        return Contestant(name, PriorCoder(prior), columns)

    def _adaptive(self) -> Iterator[Contestant]:
        fitter = _fitter(ADAPTIVE)
        for name, prior in self._priors.items():
            adaptive = fitter(
                self._codes, self._sizes, base=lambda *_, prior=prior: prior
            )
            yield from _both(f"{ADAPTIVE}_{name}", PriorCoder(adaptive))

    def _transformer(self) -> Contestant:
        parameters, start = PARAMETERS, perf_counter()
        if NEURAL in self._priors:
            parameters = self._priors[NEURAL].parameters
        fitted = fit_transformer(
            self._codes,
            self._sizes,
            parameters,
            self._epochs,
            self._seed,
            tqdm.write,
        )
        columns: Row = {
            "fit_s": perf_counter() - start,
            "parameters": fitted.parameters,
            "epochs_at_most": self._epochs,
            "epochs": fitted.epochs,
        }
        coder = TransformerCoder(TransformerPrior(fitted.model))
        return Contestant(TRANSFORMER, coder, columns)


def _both(name: str, coder: CodeCoder) -> Sequence[Contestant]:
    return (
        Contestant(name, coder),
        Contestant(name + AT_ONCE, coder, at_once=True),
    )


def _fitter(name: str) -> Callable[..., Prior]:
    return load_fitter(FRAGMENTS / f"{name}.yaml")
