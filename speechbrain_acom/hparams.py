"""Loading hyperparameters: HyperPyYAML, and variants that include a base.

A variant is a YAML file whose root carries the tag ``!include:base.yaml``;
each of its top-level keys replaces that key of the base::

    !include:conformer_mini.yaml
    codebook_size: 1024

Everything else is HyperPyYAML as SpeechBrain uses it.
"""

import os
from io import StringIO
from pathlib import Path

import ruamel.yaml
from hyperpyyaml import load_hyperpyyaml, resolve_references

from speechbrain_acom.errors import ConfigurationError

INCLUDE = "!include:"


def load_hparams(path: str | Path, overrides: str | dict = "") -> dict:
    """Load a YAML file or a variant, with overrides, and build its objects.

    Arguments
    ---------
    path : str | Path
        The YAML file.
    overrides : str | dict
        Top-level keys to replace, as ``speechbrain.parse_arguments`` gives.

    Returns
    -------
    dict
        The hyperparameters, objects constructed.

    Raises
    ------
    ConfigurationError
        If the file or a file that it includes is missing, if an override
        names a key that the file does not have, or one that stands twice.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> _ = (folder / "base.yaml").write_text("a: 1\\nb: !ref <a> + 1\\n")
    >>> _ = (folder / "more.yaml").write_text("!include:base.yaml\\na: 5\\n")
    >>> load_hparams(folder / "more.yaml")
    {'a': 5, 'b': 6}
    """
    return load_hyperpyyaml(resolve_hparams(path, overrides))


def resolve_hparams(path: str | Path, overrides: str | dict = "") -> str:
    """Text of the YAML with includes, references and overrides resolved.

    Arguments, errors: as :func:`load_hparams`.

    Returns
    -------
    str
        One self-contained YAML document; objects are still tags.
    """
    tree = _load_tree(Path(path))
    _override(tree, overrides)
    text = StringIO()
    ruamel.yaml.YAML().dump(tree, text)
    text.seek(0)
    try:
        return resolve_references(text).getvalue()
    except FileNotFoundError as error:
        raise ConfigurationError(
            str(path), error.filename, "an existing file to include"
        ) from None
    except ValueError as error:
        if "PLACEHOLDER" not in str(error):
            raise
        key = str(error).split("'")[1]
        raise ConfigurationError(
            key, "nothing", f"a value: add --{key}=... to the command"
        ) from None


def save_hparams(path: str | Path, overrides: str | dict, folder: str) -> None:
    """Write the resolved YAML as ``hyperparams.yaml`` into a folder.

    Arguments
    ---------
    path : str | Path
        The YAML file that the run was started with.
    overrides : str | dict
        The overrides that the run was started with.
    folder : str
        The run's output folder, which exists.
    """
    text = resolve_hparams(path, overrides)
    Path(folder, "hyperparams.yaml").write_text(text, encoding="utf-8")


def _load_tree(path: Path) -> dict:
    """Read one file and, if its root includes a base, merge it into that."""
    if not path.is_file():
        raise ConfigurationError("hparams file", str(path), "a YAML file")
    tree = ruamel.yaml.YAML().load(path.read_text(encoding="utf-8"))
    if not isinstance(tree, dict):
        raise ConfigurationError(
            str(path), type(tree).__name__, "a YAML file of keys and values"
        )
    _make_includes_absolute(tree, path.parent)
    tag = tree.tag.value or ""
    if not tag.startswith(INCLUDE):
        return tree
    base = _load_tree(path.parent / tag[len(INCLUDE) :])
    base.update(tree)
    return base


def _make_includes_absolute(node: object, folder: Path) -> None:
    """Let every include mean the same wherever the tree ends up."""
    children = (
        node.values()
        if isinstance(node, dict)
        else node
        if isinstance(node, list)
        else ()
    )
    for child in children:
        tag = getattr(getattr(child, "tag", None), "value", None) or ""
        if tag.startswith(INCLUDE):
            target = os.path.join(folder.resolve(), tag[len(INCLUDE) :])
            child.yaml_set_ctag(ruamel.yaml.tag.Tag(suffix=INCLUDE + target))
        _make_includes_absolute(child, folder)


def _override(tree: dict, overrides: str | dict) -> None:
    """Replace top-level keys, and keys inside mappings, in place."""
    if isinstance(overrides, str):
        overrides = _parsed(overrides)
    for key, value in overrides.items():
        if key not in tree:
            raise ConfigurationError(
                f"--{key}", value, f"one of: {', '.join(map(str, tree))}"
            )
        if isinstance(value, dict) and isinstance(tree[key], dict):
            _override(tree[key], value)
        else:
            tree[key] = value


def _parsed(overrides: str) -> dict:
    """Overrides of the command line as a mapping."""
    try:
        parsed = ruamel.yaml.YAML().load(overrides) or {}
        problem = overrides
    except ruamel.yaml.error.MarkedYAMLError as error:
        parsed, problem = None, error.problem
    if not isinstance(parsed, dict):
        raise ConfigurationError(
            "overrides", problem, "each key once, as --key=value"
        )
    return parsed
