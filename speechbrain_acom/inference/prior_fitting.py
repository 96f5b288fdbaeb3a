"""Fitting a prior anew for a model that is trained and exported.

A prior changes the size of messages and nothing else: no weight, no answer.
It is fitted on the codes of audio like that which will be sent.
"""

import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from io import StringIO
from pathlib import Path
from typing import TypeAlias

import numpy as np
from hyperpyyaml import load_hyperpyyaml
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from torch import nn

from speechbrain_acom.bottleneck import Bottleneck
from speechbrain_acom.entropy.priors import Prior, prior_digest
from speechbrain_acom.errors import AudioError, ConfigurationError, DataError
from speechbrain_acom.inference.export import (
    check_new_folder,
    hash_model,
    replace_prior,
)
from speechbrain_acom.inference.folder import HPARAMS_FILES
from speechbrain_acom.inference.interfaces import AcomInterface
from speechbrain_acom.inference.tasks import load_interface

# Called with the codes of each utterance, integers of shape (frame, K), and
# the entries per codebook; and with the quantizer, if it has an argument of
# this name.
PriorFitter: TypeAlias = Callable[..., Prior]

_FRAGMENT = "a fragment like hparams/priors/static.yaml, with its own keys"


@dataclass(frozen=True)
class FittedPrior:
    """A model's copy with a new prior.

    Arguments
    ---------
    model : str
        Folder of the copy.
    model_hash : str
        What its messages carry, two bytes in hexadecimal.
    prior : str
        Class of the prior.
    prior_sha256 : str
        Digest of the prior, in hexadecimal.
    prior_bytes : int
        Size of the prior's file.
    audio_files : int
        Files that it was fitted on.
    code_frames : int
        Frames of codes in these.
    skipped : list[str]
        What is wrong with every file that was left out.
    """

    model: str
    model_hash: str
    prior: str
    prior_sha256: str
    prior_bytes: int
    audio_files: int
    code_frames: int
    skipped: list[str]


def load_fitter(path: str | Path) -> PriorFitter:
    """Read the YAML fragment of a prior.

    Arguments
    ---------
    path : str | Path
        The fragment.

    Returns
    -------
    PriorFitter
        What fits such a prior.

    Raises
    ------
    ConfigurationError
        If there is no such file, or it is no fragment of a prior.

    Example
    -------
    >>> path = getfixture("tmp_path") / "static.yaml"
    >>> tag = "!name:speechbrain_acom.entropy.priors.StaticPrior.fit"
    >>> _ = path.write_text(tag)
    >>> load_fitter(path)([np.array([[0], [1]])], (2,)).tables
    (array([32768, 32768]),)
    """
    path = Path(path)
    if not path.is_file():
        raise ConfigurationError("prior", str(path), _FRAGMENT)
    try:
        fitter = load_hyperpyyaml(_recipe_of(path))["prior"]
    except OSError as error:
        raise ConfigurationError(
            str(path), error.filename, "an existing file to include"
        ) from None
    except (YAMLError, ImportError, TypeError, ValueError) as error:
        said = getattr(error, "problem", None) or error.args[-1]
        reason = str(said).split("\n")[0]
        raise ConfigurationError(
            "prior", str(path), f"{_FRAGMENT} ({reason})"
        ) from error
    check_fitter(fitter)
    return fitter


def _recipe_of(path: Path) -> StringIO:
    """YAML whose one key ``prior`` holds what a fragment holds."""
    yaml = YAML()
    text = StringIO()
    yaml.dump({"prior": yaml.load(path.read_text(encoding="utf-8"))}, text)
    text.seek(0)
    # What the fragment includes is looked for from its own folder.
    text.name = str(path)
    return text


def check_fitter(
    fitter: PriorFitter, bottleneck: Bottleneck | None = None
) -> None:
    """Find a mistake in a fragment before there are codes to fit.

    Arguments
    ---------
    fitter : PriorFitter
        What the key ``prior`` of a recipe holds.
    bottleneck : Bottleneck | None
        What will give the codes, so that fitters can refuse its quantizer.
        None: not known yet.

    Raises
    ------
    ConfigurationError
        If it cannot be called with codes and cardinalities, or refuses its own
        keys or this bottleneck: it is called without any codes.

    Example
    -------
    >>> check_fitter("static")
    Traceback (most recent call last):
    ...
    speechbrain_acom.errors.ConfigurationError: prior: found 'static', expected a fragment like hparams/priors/static.yaml, with its own keys ('static' is not a callable object)
    """
    try:
        inspect.signature(_informed(fitter, None)).bind([], ())
    except (TypeError, ValueError) as error:
        # Of a wrong key only the cause says which.
        reason = error.__cause__ or error
        found = getattr(getattr(fitter, "func", None), "__qualname__", fitter)
        raise ConfigurationError(
            "prior", found, f"{_FRAGMENT} ({reason})"
        ) from error
    asking = list(_asking_for_the_quantizer(fitter))
    if bottleneck is None and asking:
        return
    sizes, quantizer = (2,), None
    if bottleneck is not None:
        sizes, quantizer = bottleneck.cardinalities, bottleneck.quantizer
    for one in [fitter, *asking]:
        try:
            fit_prior(one, [], sizes, quantizer)
        except ConfigurationError:
            raise
        # There are no codes yet, which fitters say in ways of their own.
        except Exception:
            continue


def fit_prior(
    fitter: PriorFitter,
    codes: Iterable[np.ndarray],
    cardinalities: Sequence[int],
    quantizer: nn.Module | None,
) -> Prior:
    """Call a fitter with what it asks for.

    Arguments
    ---------
    fitter : PriorFitter
        What the key ``prior`` of a recipe holds.
    codes : Iterable[np.ndarray]
        One integer array (frame, K) per utterance.
    cardinalities : Sequence[int]
        Entries per codebook, coarse to fine.
    quantizer : nn.Module | None
        What gave the codes: for fitters, and bases of fitters, that have an
        argument ``quantizer``. None: no fitter asks for it.

    Returns
    -------
    Prior
        What was fitted.

    Example
    -------
    >>> from speechbrain_acom.entropy.priors import StaticPrior
    >>> fit_prior(StaticPrior.fit, [np.array([[0], [1]])], (2,), None).tables
    (array([32768, 32768]),)
    """
    return _informed(fitter, quantizer)(codes, cardinalities)


def _informed(fitter: PriorFitter, quantizer: nn.Module | None) -> PriorFitter:
    """The fitter, and those among its arguments, with their quantizer."""
    given = {
        key: _informed(base, quantizer) for key, base in _bases(fitter).items()
    }
    if _asks(fitter):
        given["quantizer"] = quantizer
    return partial(fitter, **given) if given else fitter


def _asking_for_the_quantizer(fitter: PriorFitter) -> Iterator[PriorFitter]:
    """The fitter and those among its arguments, as far as they ask for it."""
    if _asks(fitter):
        yield fitter
    for base in _bases(fitter).values():
        yield from _asking_for_the_quantizer(base)


def _asks(fitter: PriorFitter) -> bool:
    return "quantizer" in inspect.signature(fitter).parameters


def _bases(fitter: PriorFitter) -> dict[str, PriorFitter]:
    """Fitters that are arguments of a fitter from YAML, by their keys."""
    keywords = fitter.keywords if isinstance(fitter, partial) else {}
    return {key: value for key, value in keywords.items() if callable(value)}


def refit_prior(
    source: str | Path,
    fitter: PriorFitter,
    paths: Iterable[Path],
    folder: str | Path,
) -> FittedPrior:
    """Copy an exported model with a prior that is fitted on other audio.

    Arguments
    ---------
    source : str | Path
        Folder of the model, which holds both halves.
    fitter : PriorFitter
        What fits the prior.
    paths : Iterable[Path]
        Audio files; those that cannot be read are left out.
    folder : str | Path
        Where to write the copy; it does not exist yet.

    Returns
    -------
    FittedPrior
        What was written and what it was fitted on.

    Raises
    ------
    ConfigurationError
        If the source is no such model, or the folder exists.
    DataError
        If not a single file can be read, or the disk is full.
    """
    check_new_folder(folder)
    _check_whole(source)
    interface = load_interface(source)
    codes, skipped = _codes_of(interface, paths)
    bottleneck = interface.bottleneck
    prior = fit_prior(
        fitter, codes, bottleneck.cardinalities, bottleneck.quantizer
    )
    split = interface.mods.split
    folder = replace_prior(source, split, prior, folder)
    return FittedPrior(
        model=str(folder),
        model_hash=hash_model(split, prior).hex(),
        prior=type(prior).__name__,
        prior_sha256=prior_digest(prior).hex(),
        prior_bytes=(folder / "prior.ckpt").stat().st_size,
        audio_files=len(codes),
        code_frames=sum(map(len, codes)),
        skipped=skipped,
    )


def _check_whole(source: str | Path) -> None:
    """Raise for one half of a model: the other could not read its messages."""
    there = [
        name for name in HPARAMS_FILES.values() if Path(source, name).is_file()
    ]
    if there and HPARAMS_FILES["both"] not in there:
        raise ConfigurationError(
            "model folder",
            f"{source} with {' and '.join(there)}",
            "the export with both halves, which need the same prior: fit it "
            "there, then copy each half",
        )


def _codes_of(
    interface: AcomInterface, paths: Iterable[Path]
) -> tuple[list[np.ndarray], list[str]]:
    """Codes of every file that can be read, and what is wrong with others."""
    codes, skipped = [], []
    for path in paths:
        try:
            coded, _ = interface.file_codes(path)
        except AudioError as error:
            skipped.append(str(error))
        else:
            codes.append(coded.numpy())
    if not codes:
        first = f" ({skipped[0]})" if skipped else ""
        raise DataError(
            f"prior: found no readable file of {len(skipped)}, expected audio "
            f"to fit it on{first}"
        )
    return codes, skipped
