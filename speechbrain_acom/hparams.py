"""Loading hyperparameters: HyperPyYAML, and variants that include a base.

A variant is a YAML file whose root carries the tag ``!include:base.yaml``;
each of its top-level keys replaces that key of the base::

    !include:conformer_mini.yaml
    codebook_size: 1024

An override may include a file too, relative to the current folder; it then
takes the place of all that the key held before::

    --quantizer='!include:../hparams/quantizers/fsq.yaml {levels: [5, 5]}'

Everything else is HyperPyYAML as SpeechBrain uses it.
"""

import copy
import os
import re
from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.parse import quote

import ruamel.yaml
from hyperpyyaml import load_hyperpyyaml, resolve_references
from ruamel.yaml.comments import Comment, CommentedBase, CommentedMap
from ruamel.yaml.tag import Tag

from speechbrain_acom.errors import ConfigurationError

INCLUDE = "!include:"
PLACEHOLDER = "!PLACEHOLDER"
# How Python says that a class of the YAML has no such argument.
UNKNOWN_ARGUMENT = re.compile(
    r"(?P<owner>\w+)(\.__init__)?\(\) got an unexpected keyword argument "
    r"'(?P<key>\w+)'"
)


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
        names a key that the file does not have, or one that stands twice, or
        if a class in it has no such key.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> _ = (folder / "base.yaml").write_text("a: 1\\nb: !ref <a> + 1\\n")
    >>> _ = (folder / "more.yaml").write_text("!include:base.yaml\\na: 5\\n")
    >>> load_hparams(folder / "more.yaml")
    {'a': 5, 'b': 6}
    """
    return _load(resolve_hparams(path, overrides))


def _load(text: str) -> dict:
    """Build the objects of a resolved document."""
    try:
        return load_hyperpyyaml(text)
    except TypeError as error:
        found = UNKNOWN_ARGUMENT.search(str(error.args[-1:]))
        if found is None:
            raise
        raise ConfigurationError(
            found["owner"], found["key"], "one of its own keys"
        ) from error


def load_key(path: str | Path, key: str) -> Any:
    """Build what one key of a run's hyperparameters holds, and nothing else.

    Arguments
    ---------
    path : str | Path
        What :func:`save_hparams` wrote.
    key : str
        A top-level key.

    Returns
    -------
    Any
        The object.

    Raises
    ------
    ConfigurationError
        If the file or the key is missing.

    Example
    -------
    >>> path = getfixture("tmp_path") / "hyperparams.yaml"
    >>> _ = path.write_text("a: !new:torch.nn.ReLU\\nb: !new:no.such.Thing\\n")
    >>> load_key(path, "a")
    ReLU()
    """
    return _load(text_of_keys(read_tree(path), [key], path))[key]


def load_keys(
    path: str | Path, keys: Sequence[str], overrides: str | dict = ""
) -> dict:
    """Build some keys of a YAML file or a variant, and nothing else.

    What a command has to give, a ``!PLACEHOLDER``, need not be given where
    none of these keys depends on it.

    Arguments
    ---------
    path, overrides
        As for :func:`load_hparams`.
    keys : Sequence[str]
        Top-level keys.

    Returns
    -------
    dict
        The keys and their objects, which share what they share in the file.

    Raises
    ------
    ConfigurationError
        As :func:`load_hparams`; also if a key is missing.

    Example
    -------
    >>> path = getfixture("tmp_path") / "train.yaml"
    >>> _ = path.write_text("data: !PLACEHOLDER\\na: 3\\nb: !ref <a> * 2\\n")
    >>> load_keys(path, ["b"])
    {'b': 6}
    """
    given = _parsed(overrides) if isinstance(overrides, str) else overrides
    absent = {
        key: ""
        for key, node in read_tree(path).items()
        if _tag(node) == PLACEHOLDER
    }
    text = resolve_hparams(path, {**absent, **given})
    return _load(text_of_keys(ruamel.yaml.YAML().load(text), keys, path))


def text_of_keys(tree: dict, keys: Sequence[str], path: str | Path) -> str:
    """Some keys of a resolved file as a file of their own.

    Arguments
    ---------
    tree : dict
        What ``ruamel.yaml`` read; its comments are lost.
    keys : Sequence[str]
        Top-level keys, in the order of the result.
    path : str | Path
        The file, for the error.

    Returns
    -------
    str
        A YAML document.

    Raises
    ------
    ConfigurationError
        If a key is missing.

    Example
    -------
    >>> text_of_keys({"a": 1, "b": [2]}, ["b"], "run.yaml")
    'b:\\n- 2\\n'
    """
    for key in keys:
        if key not in tree:
            raise ConfigurationError(
                str(path), f"no key {key}", "a file that has it"
            )
    kept = {key: tree[key] for key in keys}
    drop_layout(kept)
    text = StringIO()
    ruamel.yaml.YAML().dump(kept, text)
    return text.getvalue()


def resolve_hparams(path: str | Path, overrides: str | dict = "") -> str:
    """Text of the YAML with includes, references and overrides resolved.

    Arguments, errors: as :func:`load_hparams`.

    Returns
    -------
    str
        One self-contained YAML document; objects are still tags.
    """
    tree = read_tree(path)
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


def write_variant(
    path: str | Path, base: str | Path, keys: Mapping[str, Any]
) -> Path:
    """Write a variant: a file that includes a base and replaces keys of it.

    Arguments
    ---------
    path : str | Path
        The file to write; its folder is made.
    base : str | Path
        The YAML file that it includes.
    keys : Mapping[str, Any]
        Top-level keys and what they hold: plain values, or part of what
        :func:`read_tree` gave.

    Returns
    -------
    Path
        The file.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> _ = (folder / "base.yaml").write_text("a: 1\\nb: 2\\n")
    >>> path = write_variant(folder / "x" / "b.yaml", folder / "base.yaml", {"b": 3})
    >>> print(path.read_text())
    !include:../base.yaml
    b: 3
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    tree = CommentedMap(copy.deepcopy(dict(keys)))
    drop_layout(tree)
    tree.yaml_set_ctag(_include_tag(base, path.parent))
    _move_includes(tree, Path(), path.parent)
    with path.open("w", encoding="utf-8") as file:
        ruamel.yaml.YAML().dump(tree, file)
    return path


def read_tree(path: str | Path) -> dict:
    """Read one file and, if its root includes a base, merge it into that.

    Arguments
    ---------
    path : str | Path
        The YAML file.

    Returns
    -------
    dict
        Nodes of ``ruamel.yaml`` with their tags, nothing resolved or built;
        includes are relative to the current folder.

    Raises
    ------
    ConfigurationError
        If the file or its base is missing, no YAML or has no keys.
    """
    path = Path(path)
    if not path.is_file():
        raise ConfigurationError("hparams file", str(path), "a YAML file")
    try:
        tree = ruamel.yaml.YAML().load(path.read_text(encoding="utf-8"))
    except (ruamel.yaml.error.YAMLError, UnicodeDecodeError) as error:
        # Of several lines, where there is a place in the file.
        where = getattr(getattr(error, "problem_mark", None), "line", None)
        place = "no text" if where is None else f"no YAML in line {where + 1}"
        raise ConfigurationError(
            str(path), place, "a YAML file of keys and values"
        ) from error
    if not isinstance(tree, dict):
        raise ConfigurationError(
            str(path), type(tree).__name__, "a YAML file of keys and values"
        )
    _move_includes(tree, path.parent, Path())
    if not _is_include(tree):
        return tree
    base = read_tree(path.parent / _tag(tree)[len(INCLUDE) :])
    base.update(tree)
    return base


def _tag(node: object) -> str:
    return getattr(getattr(node, "tag", None), "value", None) or ""


def _is_include(node: object) -> bool:
    return _tag(node).startswith(INCLUDE)


def _children(node: object) -> list:
    if isinstance(node, dict):
        return list(node.values())
    return node if isinstance(node, list) else []


def drop_layout(node: object) -> None:
    """Drop comments of a node and all that it holds, in place, and brackets.

    Of part of a file comments belong to other keys, as often as not, and what
    was a name inside brackets becomes all that the name stood for.

    Arguments
    ---------
    node : object
        What ``ruamel.yaml`` read, or part of it.
    """
    if isinstance(node, CommentedBase):
        setattr(node, Comment.attrib, Comment())
    children = _children(node)
    if isinstance(node, CommentedBase) and any(map(_children, children)):
        node.fa.set_block_style()
    for child in children:
        drop_layout(child)


def _include_tag(target: str | Path, folder: Path) -> Tag:
    """The tag that includes a file from a file in a folder."""
    # Relative, and only ASCII survives in a tag: names of folders further up
    # can be anything.
    relative = os.path.relpath(Path(target).resolve(), folder.resolve())
    return Tag(suffix=INCLUDE + quote(relative))


def _move_includes(
    node: object, old: Path, new: Path, moved: set[int] | None = None
) -> None:
    """Let what a file in one folder includes be included from another."""
    moved = set() if moved is None else moved
    for child in _children(node):
        # What an alias stands for is found as often as it is used.
        if id(child) in moved:
            continue
        moved.add(id(child))
        if _is_include(child):
            target = old / _tag(child)[len(INCLUDE) :]
            child.yaml_set_ctag(_include_tag(target, new))
        _move_includes(child, old, new, moved)


def _override(tree: dict, overrides: str | dict) -> None:
    """Replace top-level keys, and keys inside mappings, in place."""
    if isinstance(overrides, str):
        overrides = _parsed(overrides)
    for key, value in overrides.items():
        if key not in tree:
            raise ConfigurationError(
                f"--{key}", value, f"one of: {', '.join(map(str, tree))}"
            )
        plain = isinstance(value, dict) and not _tag(value)
        if plain and isinstance(tree[key], dict):
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
