"""Writing a trained model as a folder that inference can load.

A coded model becomes a flat folder, ready for a hub::

    hyperparams.yaml  device.yaml  cloud.yaml
    device.ckpt  cloud.ckpt  normalize.ckpt  prior.ckpt  <vocabulary>.ckpt

``device.yaml`` asks for the device's weights only and ``cloud.yaml`` for the
cloud's only, so that either half can be copied to its machine alone. Each
has the checksums of the files that it asks for. A
continuous model becomes the files that a SpeechBrain user would expect:
``model.ckpt``, ``normalize.ckpt`` and the vocabulary.
"""

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias

import ruamel.yaml
import sentencepiece
import torch
from ruamel.yaml.scalarstring import DoubleQuotedScalarString
from speechbrain.dataio.encoder import CategoricalEncoder

from speechbrain_acom.entropy.priors import Prior, prior_digest, save_prior
from speechbrain_acom.errors import ConfigurationError
from speechbrain_acom.hparams import read_tree, text_of_keys
from speechbrain_acom.inference.folder import (
    HPARAMS_FILES,
    checked_files,
)
from speechbrain_acom.inference.interfaces import AcomInterface
from speechbrain_acom.splits import Split
from speechbrain_acom.splits.contract import HALVES
from speechbrain_acom.storage import file_checksum, writing_into

Vocabulary: TypeAlias = (
    sentencepiece.SentencePieceProcessor | CategoricalEncoder
)

# What each half loads, beside the vocabulary, which only the cloud needs.
DEVICE_FILES = ("device", "normalize", "prior")
CLOUD_FILES = ("cloud", "prior")
ALL_FILES = ("device", "cloud", "normalize", "prior")


def export_continuous(
    folder: str | Path,
    model: torch.nn.Module,
    normalize: torch.nn.Module,
    vocabulary: Vocabulary,
    interface: type[AcomInterface],
) -> Path:
    """Write an unsplit model, from which coded ones can start.

    Arguments
    ---------
    folder : str | Path
        Where to write; an earlier export in it is replaced.
    model : Module
        The unsplit parts, named as SpeechBrain's recipe names them.
    normalize : Module
        SpeechBrain's ``InputNormalization``.
    vocabulary : SentencePieceProcessor | CategoricalEncoder
        What turns the head's output into text or a label.
    interface : type[AcomInterface]
        The task's interface, which names the vocabulary's file.

    Returns
    -------
    Path
        The folder.
    """
    folder = _fresh(folder)
    torch.save(model.state_dict(), folder / "model.ckpt")
    normalize._save(folder / "normalize.ckpt")
    _save_vocabulary(vocabulary, folder / f"{interface.VOCABULARY}.ckpt")
    return folder


def export_coded(
    folder: str | Path,
    hyperparams_file: str | Path,
    split: Split,
    normalize: torch.nn.Module,
    prior: Prior,
    vocabulary: Vocabulary,
    interface: type[AcomInterface],
    cloud_only: Mapping[str, torch.nn.Module] | None = None,
) -> Path:
    """Write a coded model in two halves.

    Arguments
    ---------
    folder : str | Path
        Where to write; an earlier export in it is replaced.
    hyperparams_file : str | Path
        The run's resolved ``hyperparams.yaml``.
    split : Split
        The trained split.
    normalize : Module
        SpeechBrain's ``InputNormalization``.
    prior : Prior
        Fitted on the codes of the training set.
    vocabulary : SentencePieceProcessor | CategoricalEncoder
        What turns the cloud half's output into text or a label.
    interface : type[AcomInterface]
        The task's interface, which says what else inference needs.
    cloud_only : Mapping[str, Module] | None
        Modules beside the split that only the cloud needs, by their keys of
        the YAML; see :func:`cloud_modules`.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    ConfigurationError
        If the YAML lacks a key that inference needs.
    """
    folder, more = _fresh(folder), dict(cloud_only or {})
    for half in HALVES:
        torch.save(split.half_state_dict(half), folder / f"{half}.ckpt")
    normalize._save(folder / "normalize.ckpt")
    save_prior(prior, folder / "prior.ckpt")
    _save_vocabulary(vocabulary, folder / f"{interface.VOCABULARY}.ckpt")
    for name, module in more.items():
        torch.save(module.state_dict(), folder / f"{name}.ckpt")
    model_hash = hash_model(split, prior)
    for half, parts in (
        ("device", DEVICE_FILES),
        ("cloud", (*CLOUD_FILES, interface.VOCABULARY, *more)),
        ("both", (*ALL_FILES, interface.VOCABULARY, *more)),
    ):
        modules = needed_modules(half, interface)
        if half != "device":
            modules = [*modules, *more]
        keys = ["sample_rate", *modules]
        if half != "device":
            keys += [interface.VOCABULARY, *interface.TASK_KEYS]
        kept = text_of_keys(read_tree(hyperparams_file), keys, hyperparams_file)
        text = kept + _added_yaml(
            half, parts, modules, model_hash, interface, folder
        )
        (folder / HPARAMS_FILES[half]).write_text(text, encoding="utf-8")
    return folder


def cloud_modules(
    hparams: Mapping, interface: type[AcomInterface]
) -> dict[str, torch.nn.Module]:
    """What of a recipe's modules beside the split the cloud needs.

    Arguments
    ---------
    hparams : Mapping
        The recipe's hyperparameters.
    interface : type[AcomInterface]
        The task's interface.

    Returns
    -------
    dict[str, Module]
        Those that the recipe has.
    """
    found = {name: hparams.get(name) for name in interface.CLOUD_MODULES}
    return {name: module for name, module in found.items() if module}


def hash_model(split: Split, prior: Prior) -> bytes:
    """Two bytes that tell this model's messages from another's.

    Arguments
    ---------
    split : Split
        The trained split; every weight that is exported counts.
    prior : Prior
        The prior; all of it counts.

    Returns
    -------
    bytes
        The first two bytes of a SHA-256.
    """
    digest = hashlib.sha256(prior_digest(prior))
    # What serves in training only is in no half.
    weights = split.half_state_dict("device") | split.half_state_dict("cloud")
    for name, value in sorted(weights.items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.digest()[:2]


def copy_half(source: str | Path, half: str, folder: str | Path) -> Path:
    """Copy what one half needs, and nothing else of the model.

    Arguments
    ---------
    source : str | Path
        An exported coded model.
    half : str
        "device" or "cloud".
    folder : str | Path
        Where to write; an earlier export in it is replaced.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    ConfigurationError
        If the source has no such half, or is the folder to write.
    """
    names = checked_files(source, half)
    if Path(folder).resolve() == Path(source).resolve():
        raise ConfigurationError(
            "folder", str(folder), "another one than the source"
        )
    folder = _fresh(folder)
    for name in names:
        shutil.copy(Path(source, name), folder)
    return folder


def replace_prior(
    source: str | Path, split: Split, prior: Prior, folder: str | Path
) -> Path:
    """Copy a model with another prior, and so with another hash.

    Messages of the source are of another model to the copy.

    Arguments
    ---------
    source : str | Path
        An exported coded model, both halves of it.
    split : Split
        Its split, with the weights of both halves.
    prior : Prior
        Fitted for this model's codebooks.
    folder : str | Path
        Where to write; it does not exist yet, and does not if writing fails.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    ConfigurationError
        If the source lacks a file of either half, or the folder exists.
    DataError
        If the disk is full or cannot be written to.
    """
    folder = Path(folder)
    check_new_folder(folder)
    names = {
        name for half in HPARAMS_FILES for name in checked_files(source, half)
    }
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (
        writing_into(folder.parent),
        TemporaryDirectory(dir=folder.parent) as unfinished,
    ):
        copied = Path(unfinished, folder.name)
        copied.mkdir()
        for name in names:
            shutil.copy(Path(source, name), copied)
        save_prior(prior, copied / "prior.ckpt")
        model_hash = hash_model(split, prior)
        for name in HPARAMS_FILES.values():
            _name_prior(copied / name, model_hash)
        copied.rename(folder)
    return folder


def check_new_folder(folder: str | Path) -> None:
    """Raise ConfigurationError if there is such a folder, or such a file."""
    if Path(folder).exists():
        raise ConfigurationError(
            "output", str(folder), "a folder that does not exist yet"
        )


def needed_modules(half: str, interface: type[AcomInterface]) -> list[str]:
    """Modules that a half loads: the cloud makes no features."""
    return ["split"] if half == "cloud" else interface.MODULES_NEEDED


def _save_vocabulary(vocabulary: Vocabulary, path: Path) -> None:
    if isinstance(vocabulary, CategoricalEncoder):
        vocabulary.save(path)
    else:
        path.write_bytes(vocabulary.serialized_model_proto())


def _fresh(folder: str | Path) -> Path:
    """The folder without an earlier export; other files in it stay."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    exported = [folder / name for name in HPARAMS_FILES.values()]
    for path in (*exported, *folder.glob("*.ckpt")):
        path.unlink(missing_ok=True)
    return folder


def _name_prior(path: Path, model_hash: bytes) -> None:
    """Put the checksum of the prior beside a YAML file, and the hash, into it."""
    yaml = ruamel.yaml.YAML()
    yaml.preserve_quotes = True
    content = yaml.load(path.read_text(encoding="utf-8"))
    # Quoted: 12e4 is a number otherwise.
    content["model_hash"] = DoubleQuotedScalarString(model_hash.hex())
    checksum = file_checksum(path.with_name("prior.ckpt"))
    content["checksums"]["prior.ckpt"] = DoubleQuotedScalarString(checksum)
    with path.open("w", encoding="utf-8") as file:
        yaml.dump(content, file)


def _added_yaml(
    half: str,
    parts: Sequence[str],
    modules: Sequence[str],
    model_hash: bytes,
    interface: type[AcomInterface],
    folder: Path,
) -> str:
    """What only inference needs: the modules, and where they come from."""
    lines = ["prior: !new:speechbrain_acom.inference.parameters.PriorFile"]
    lines += [f"half: {half}"]
    lines += [f"interface: {interface.__name__}"]
    lines += [f'model_hash: "{model_hash.hex()}"', "modules:"]
    for name in modules:
        lines += [f"    {name}: !ref <{name}>"]
    lines += [
        "pretrainer: !new:speechbrain.utils.parameter_transfer.Pretrainer"
    ]
    lines += ["    loadables:"]
    for part in parts:
        if part in HALVES:
            lines += [
                f"        {part}: !new:"
                "speechbrain_acom.inference.parameters.HalfWeights",
                "            split: !ref <split>",
                f"            half: {part}",
            ]
        else:
            lines += [f"        {part}: !ref <{part}>"]
    lines += ["checksums:"]
    for part in parts:
        checksum = file_checksum(folder / f"{part}.ckpt")
        lines += [f'    {part}.ckpt: "{checksum}"']
    return "\n".join(lines) + "\n"
