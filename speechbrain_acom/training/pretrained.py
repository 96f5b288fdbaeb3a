"""Starting from a trained model: every weight has to find its place.

SpeechBrain's own transfer only warns of weights that are missing or left
over, and a model that starts half trained says nothing about its cut.
"""

from pathlib import Path
from typing import Any

import torch
from speechbrain.utils.checkpoints import torch_patched_state_dict_load
from speechbrain.utils.parameter_transfer import Pretrainer

from speechbrain_acom.errors import ConfigurationError

KEY = "pretrained_path"
# The loadable that holds the unsplit model's weights.
MODEL = "model"


def load_pretrained(pretrainer: Pretrainer, source: str) -> None:
    """Load an unsplit model, its normalizer and its vocabulary.

    Arguments
    ---------
    pretrainer : Pretrainer
        Its loadable ``model`` is a module, whose weights all have to be in
        the file, and no others.
    source : str
        Folder that holds a file ``<loadable>.ckpt`` for every loadable, as a
        continuous run exports it.

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
    speechbrain_acom.errors.ConfigurationError: pretrained_path: found 'no/such/folder', expected the folder export of a continuous run
    """
    expected = "the folder export of a continuous run"
    if not Path(source).is_dir():
        raise ConfigurationError(KEY, source, expected)
    for name in pretrainer.loadables:
        if not Path(source, f"{name}.ckpt").is_file():
            raise ConfigurationError(
                KEY, source, f"{expected}: this folder has no {name}.ckpt"
            )
    for name, loadable in pretrainer.loadables.items():
        _load(name, loadable, Path(source, f"{name}.ckpt"))


def _load(name: str, loadable: Any, path: Path) -> None:
    """Load one file as SpeechBrain does, and the model's strictly."""
    hooks = {MODEL: load_strictly}
    single = Pretrainer(loadables={name: loadable}, custom_hooks=hooks)
    single.collect_files(str(path.parent))
    try:
        single.load_collected()
    except ConfigurationError:
        raise
    except Exception as error:
        # Files of many kinds, each of which fails in its own way.
        raise ConfigurationError(
            KEY,
            str(path),
            f"a file as it was exported: loading ends in {type(error).__name__}",
        ) from error


def load_strictly(module: torch.nn.Module, path: str | Path) -> None:
    """Load a file of weights that fits a module exactly.

    Arguments
    ---------
    module : Module
        What to load into.
    path : str | Path
        A state dictionary that ``torch.save`` wrote.

    Raises
    ------
    ConfigurationError
        If a weight is missing, unknown or of another shape; the message has
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
    given = torch_patched_state_dict_load(path)
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
            KEY,
            str(path),
            f"{expected}: was that model built with other hyperparameters?",
        )
    module.load_state_dict(given, strict=True)
