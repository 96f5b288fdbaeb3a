"""Starting from a trained model: every weight has to find its place.

SpeechBrain's own transfer only warns of weights that are missing or left
over, and a model that starts half trained says nothing about its cut.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import (
    EntryNotFoundError,
    LocalEntryNotFoundError,
)
from sentencepiece import SentencePieceProcessor
from speechbrain.utils.checkpoints import torch_patched_state_dict_load
from speechbrain.utils.fetching import fetch
from speechbrain.utils.parameter_transfer import Pretrainer

from speechbrain_acom.errors import ConfigurationError

KEY, LM_KEY = "pretrained_path", "lm_path"
# An owner and a model; folders are looked for first.
HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
# Loadables whose weights all have to be in the file, and no others.
STRICT = ("model", "lm")
# What files of SpeechBrain's own models are called, beside the loadable's name.
OTHER_NAMES = {"model": ("asr",), "normalize": ("normalizer", "mean_var_norm")}


def load_pretrained(pretrainer: Pretrainer, source: str) -> None:
    """Load an unsplit model, its normalizer and its vocabulary.

    Arguments
    ---------
    pretrainer : Pretrainer
        Its loadable ``model`` is a module, whose weights all have to be in
        the file, and no others.
    source : str
        Folder, or a name on the hub, that holds a file ``<loadable>.ckpt``
        for every loadable, as a continuous run exports it; ``asr.ckpt`` and
        ``normalizer.ckpt``, as SpeechBrain's own models have them, will do.

    Raises
    ------
    ConfigurationError
        If a file is missing or damaged, or a weight is missing, left over or
        of another shape.

    Example
    -------
    >>> load_pretrained(Pretrainer(loadables={"model": None}), "no/such/folder")
    Traceback (most recent call last):
    ...
    speechbrain_acom.errors.ConfigurationError: pretrained_path: found 'no/such/folder', expected the folder export of a continuous run, or a model's name on the hub
    """
    expected = (
        "the folder export of a continuous run, or a model's name on the hub"
    )
    _load_all(KEY, pretrainer, source, expected)


def load_language_model(
    pretrainer: Pretrainer | None, source: str, tokens_known: bool = False
) -> None:
    """Load a language model and the tokens that it knows.

    Arguments
    ---------
    pretrainer : Pretrainer | None
        Its loadables are ``lm``, whose weights all have to be in the file,
        and no others, and ``tokenizer``. None: the recipe has none.
    source : str
        Folder, or a name on the hub, that holds ``lm.ckpt`` and
        ``tokenizer.ckpt``.
    tokens_known : bool
        Whether the tokenizer is loaded already, with the recogniser. The
        language model then has to know the same tokens, for a search adds up
        what both say of each.

    Raises
    ------
    ConfigurationError
        As :func:`load_pretrained`, or if it knows other tokens, or the recipe
        has no language model.
    """
    if pretrainer is None:
        raise ConfigurationError(
            LM_KEY,
            source,
            "'', or an lm_pretrainer and an lm_model in the YAML",
        )
    expected = "a folder or a name on the hub, of a language model"
    tokenizer = pretrainer.loadables["tokenizer"]
    known = _pieces(tokenizer) if tokens_known else None
    _load_all(LM_KEY, pretrainer, source, expected)
    if known not in (None, _pieces(tokenizer)):
        raise ConfigurationError(
            LM_KEY,
            source,
            f"a language model of the same tokens as {KEY}'s recogniser",
        )


def _pieces(tokenizer: SentencePieceProcessor) -> list[str]:
    """The tokens, in the order of their numbers."""
    return tokenizer.id_to_piece(list(range(tokenizer.get_piece_size())))


def _load_all(
    key: str, pretrainer: Pretrainer, source: str, expected: str
) -> None:
    # All files first: nothing is loaded where one is missing.
    paths = {
        name: _file(key, name, source, expected)
        for name in pretrainer.loadables
    }
    for name, path in paths.items():
        _load(key, name, pretrainer.loadables[name], path)


def _file(key: str, name: str, source: str, expected: str) -> Path:
    """The file of a loadable, from the hub if need be."""
    files = [f"{one}.ckpt" for one in (name, *OTHER_NAMES.get(name, ()))]
    if Path(source).is_dir():
        found = [Path(source, file) for file in files]
        found = [path for path in found if path.is_file()]
    elif HUB_NAME.fullmatch(source):
        found = _fetched(key, source, files, expected)
    else:
        raise ConfigurationError(key, source, expected)
    if not found:
        raise ConfigurationError(
            key, source, f"{expected}: this one has no {' or '.join(files)}"
        )
    return found[0]


def _fetched(
    key: str, source: str, files: Sequence[str], expected: str
) -> list[Path]:
    """The first of these files that the hub, or its cache here, has."""
    for file in files:
        try:
            return [Path(fetch(file, source))]
        except (EntryNotFoundError, OSError, ValueError) as error:
            absent = isinstance(error, EntryNotFoundError)
            if absent and not isinstance(error, LocalEntryNotFoundError):
                continue
            # Nothing there by that name, no right to it, or no network.
            reason = str(error).strip().split("\n")[0]
            raise ConfigurationError(
                key, source, f"{expected} ({reason})"
            ) from error
    return []


def _load(key: str, name: str, loadable: Any, path: Path) -> None:
    """Load one file as SpeechBrain does, and all of a model's weights."""
    if name in STRICT:
        load_strictly(loadable, path, key)
        return
    single = Pretrainer(loadables={name: loadable}, paths={name: str(path)})
    single.collect_files()
    try:
        single.load_collected()
    except Exception as error:
        # Files of many kinds, each of which fails in its own way.
        raise _unlike_export(key, path, error) from error


def _unlike_export(key: str, path: Path, error: Exception) -> Exception:
    kind = type(error).__name__
    return ConfigurationError(
        key, str(path), f"a file as it was exported: loading ends in {kind}"
    )


def load_strictly(
    module: torch.nn.Module, path: str | Path, key: str = KEY
) -> None:
    """Load a file of weights that fits a module exactly.

    Arguments
    ---------
    module : Module
        What to load into.
    path : str | Path
        A state dictionary that ``torch.save`` wrote.
    key : str
        What the recipe calls where it comes from.

    Raises
    ------
    ConfigurationError
        If the file cannot be read, or a weight is missing, unknown or of another shape; the message has
        the first one. The module is then as it was.

    Example
    -------
    >>> path = getfixture("tmp_path") / "model.ckpt"
    >>> torch.save({"weight": torch.zeros(2, 3)}, path)
    >>> load_strictly(torch.nn.Linear(4, 2, bias=False), path)
    Traceback (most recent call last):
    ...
    speechbrain_acom.errors.ConfigurationError: pretrained_path: found '.../model.ckpt', expected weight of shape (2, 4), not (2, 3): was that model built with other hyperparameters?
    """
    try:
        given = torch_patched_state_dict_load(path)
    except Exception as error:
        raise _unlike_export(key, Path(path), error) from error
    wanted = module.state_dict()
    for name in sorted(wanted.keys() | given.keys()):
        if name not in given:
            expected = f"a weight {name} in it"
        elif name not in wanted:
            expected = f"no weight {name} in it"
        elif given[name].shape != wanted[name].shape:
            shapes = tuple(wanted[name].shape), tuple(given[name].shape)
            expected = f"{name} of shape {shapes[0]}, not {shapes[1]}"
        else:
            continue
        raise ConfigurationError(
            key,
            str(path),
            f"{expected}: was that model built with other hyperparameters?",
        )
    module.load_state_dict(given, strict=True)
