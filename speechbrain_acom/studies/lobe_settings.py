"""What the study of the quantizers trains, read from its YAML file."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml.comments import TaggedScalar

from speechbrain_acom.errors import ConfigurationError
from speechbrain_acom.hparams import read_tree

Keys = Mapping[str, Any]


@dataclass(frozen=True)
class LobeTask:
    """A task on one data set.

    Arguments
    ---------
    name : str
        What the table calls it.
    recipe : str
        Folder of its recipe, under the folder of recipes.
    continuous : str
        Name of the recipe's YAML file of the continuous model.
    coded : str
        Name of the recipe's YAML file of the quantized model.
    metrics : Sequence[str]
        Columns of the recipe's results that count, the chief one first.
    corpus : str
        Folder of the corpus, under the folder of data.
    keys : Keys
        What this data set replaces in both YAML files.
    continuous_keys : Keys
        What it replaces in the continuous model's only.
    coded_keys : Keys
        What it replaces in the quantized model's only.
    lobes : Sequence[str] | None
        Those that are run on it. None: all.
    """

    name: str
    recipe: str
    continuous: str
    coded: str
    metrics: Sequence[str]
    corpus: str
    keys: Keys = field(default_factory=dict)
    continuous_keys: Keys = field(default_factory=dict)
    coded_keys: Keys = field(default_factory=dict)
    lobes: Sequence[str] | None = None


@dataclass(frozen=True)
class LobeSettings:
    """All that is trained on one data set.

    Arguments
    ---------
    command : str
        What a user types to run it.
    seed : int
        Of every training.
    tasks : Mapping[str, LobeTask]
        Tasks by name.
    lobes : Mapping[str, Keys]
        Keys that each lobe replaces in the YAML of a quantized model, by the
        lobe's name.
    """

    command: str
    seed: int
    tasks: Mapping[str, LobeTask]
    lobes: Mapping[str, Keys]


def read_lobe_settings(path: str | Path, data: str) -> LobeSettings:
    """Read the study's YAML file for one data set.

    Arguments
    ---------
    path : str | Path
        The file; ``hparams/studies/lobes.yaml`` says what stands in it.
    data : str
        Name of the data set.

    Returns
    -------
    LobeSettings
        Tasks and lobes; what they replace are nodes of YAML for
        :func:`~speechbrain_acom.hparams.write_variant`.

    Raises
    ------
    ConfigurationError
        If the file is missing, is not one of this study, or does not know
        the data set.
    """
    tree = read_tree(path)
    corpora = chosen(_part(tree, "data", path), [data], "--data")[data]
    tasks = _part(tree, "tasks", path)
    try:
        built = {
            name: LobeTask(name=name, **tasks[name], **corpus)
            for name, corpus in corpora.items()
        }
    except (KeyError, TypeError) as error:
        raise ConfigurationError(
            str(path), str(error), "the keys that its comments name"
        ) from None
    lobes = _part(tree, "lobes", path)
    for task in built.values():
        chosen(lobes, task.lobes, f"{path}: lobes of {task.name}")
    command, seed = (_part(tree, key, path) for key in ("command", "seed"))
    return LobeSettings(command, seed, built, lobes)


def _part(tree: Mapping, key: str, path: str | Path) -> Any:
    if key not in tree:
        raise ConfigurationError(str(path), f"no key {key}", "all settings")
    return tree[key]


def chosen(
    known: Mapping[str, Any], names: Sequence[str] | None, option: str
) -> dict[str, Any]:
    """Those that a user asked for.

    Arguments
    ---------
    known : Mapping[str, Any]
        All there are.
    names : Sequence[str] | None
        The chosen ones; None: all.
    option : str
        The option that names them.

    Returns
    -------
    dict[str, Any]
        The chosen ones, in the order of all.

    Raises
    ------
    ConfigurationError
        If one of them does not exist.

    Example
    -------
    >>> chosen({"rvq": 1, "fsq": 2}, ["fsq"], "--lobes")
    {'fsq': 2}
    """
    for name in names or []:
        if name not in known:
            raise ConfigurationError(
                option, name, f"one of {', '.join(map(str, known))}"
            )
    return {
        name: value
        for name, value in known.items()
        if names is None or name in names
    }


def described(keys: Keys) -> str:
    """The keys that a lobe replaces, on one line for a table.

    Arguments
    ---------
    keys : Keys
        As in :class:`LobeSettings`.

    Returns
    -------
    str
        Tags by the last part of their names; the word "quantizer" is left
        out.

    Example
    -------
    >>> path = getfixture("tmp_path") / "lobes.yaml"
    >>> _ = path.write_text(
    ...     "quantizer: !include:quantizers/fsq.yaml\\n    levels: [8, 6]\\n"
    ...     "merge: !ref <merge>\\n"
    ... )
    >>> described(read_tree(path))
    'fsq.yaml {levels: [8, 6]}, merge: <merge>'
    """
    return _shown(keys)[1:-1].removeprefix("quantizer: ")


def _shown(node: object) -> str:
    tag = getattr(getattr(node, "tag", None), "value", None) or ""
    name = re.split("[:/]", tag)[-1]
    if not name.endswith(".yaml"):
        name = name.rpartition(".")[2]
    if isinstance(node, TaggedScalar):
        return node.value or name
    if isinstance(node, Mapping):
        parts = (f"{key}: {_shown(value)}" for key, value in node.items())
        return f"{name} {{{', '.join(parts)}}}".strip()
    if isinstance(node, list):
        return f"[{', '.join(map(_shown, node))}]"
    return "null" if node is None else str(node)
