"""Writing a trained model as a folder that inference can load.

A coded model becomes a flat folder, ready for a hub::

    hyperparams.yaml  device.yaml  cloud.yaml
    device.ckpt  cloud.ckpt  normalize.ckpt  prior.ckpt  <vocabulary>.ckpt

``device.yaml`` asks for the device's weights only and ``cloud.yaml`` for the
cloud's only, so that either half can be copied to its machine alone. A
continuous model becomes the files that a SpeechBrain user would expect:
``model.ckpt``, ``normalize.ckpt`` and the vocabulary.
"""

import hashlib
import shutil
from io import StringIO
from pathlib import Path
from typing import Any, TypeAlias

import ruamel.yaml
import sentencepiece
import torch
from speechbrain.dataio.encoder import CategoricalEncoder

from speechbrain_acom.entropy.prior import StaticPrior
from speechbrain_acom.inference.interfaces import AcomInterface
from speechbrain_acom.splits import Split

Vocabulary: TypeAlias = (
    sentencepiece.SentencePieceProcessor | CategoricalEncoder
)

# What each half loads, beside the vocabulary, which only the cloud needs.
DEVICE_FILES = ("device", "normalize", "prior")
CLOUD_FILES = ("cloud", "prior")


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
        Where to write; replaced if it exists.
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
    prior: StaticPrior,
    vocabulary: Vocabulary,
    interface: type[AcomInterface],
) -> Path:
    """Write a coded model in two halves.

    Arguments
    ---------
    folder : str | Path
        Where to write; replaced if it exists.
    hyperparams_file : str | Path
        The run's resolved ``hyperparams.yaml``.
    split : Split
        The trained split.
    normalize : Module
        SpeechBrain's ``InputNormalization``.
    prior : StaticPrior
        Fitted on the codes of the training set.
    vocabulary : SentencePieceProcessor | CategoricalEncoder
        What turns the cloud half's output into text or a label.
    interface : type[AcomInterface]
        The task's interface, which says what else inference needs.

    Returns
    -------
    Path
        The folder.
    """
    folder = _fresh(folder)
    for half in ("device", "cloud"):
        torch.save(split.half_state_dict(half), folder / f"{half}.ckpt")
    normalize._save(folder / "normalize.ckpt")
    prior.save(folder / "prior.ckpt")
    _save_vocabulary(vocabulary, folder / f"{interface.VOCABULARY}.ckpt")
    model_hash = hash_model(split, prior)
    both = tuple(dict.fromkeys((*DEVICE_FILES, *CLOUD_FILES)))
    for name, files in (
        ("device", DEVICE_FILES),
        ("cloud", (*CLOUD_FILES, interface.VOCABULARY)),
        ("hyperparams", (*both, interface.VOCABULARY)),
    ):
        half = "both" if name == "hyperparams" else name
        text = _inference_yaml(
            hyperparams_file, files, half, model_hash, interface
        )
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    return folder


def hash_model(split: Split, prior: StaticPrior) -> bytes:
    """Two bytes that tell this model's messages from another's.

    Arguments
    ---------
    split : Split
        The trained split; every weight counts.
    prior : StaticPrior
        The prior; every table counts.

    Returns
    -------
    bytes
        The first two bytes of a SHA-256.
    """
    digest = hashlib.sha256(prior.digest())
    for name, value in sorted(split.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.digest()[:2]


def copy_half(source: str | Path, half: str, folder: str | Path) -> Path:
    """Copy what one half needs, and nothing else, into a folder of its own.

    Arguments
    ---------
    source : str | Path
        An exported coded model.
    half : str
        "device" or "cloud".
    folder : str | Path
        Where to write; replaced if it exists.

    Returns
    -------
    Path
        The folder.
    """
    source, folder = Path(source), _fresh(folder)
    yaml = ruamel.yaml.YAML().load(source / f"{half}.yaml")
    shutil.copy(source / f"{half}.yaml", folder)
    for name in yaml["pretrainer"]["loadables"]:
        shutil.copy(source / f"{name}.ckpt", folder)
    return folder


def _save_vocabulary(vocabulary: Vocabulary, path: Path) -> None:
    if isinstance(vocabulary, CategoricalEncoder):
        vocabulary.save(path)
    else:
        path.write_bytes(vocabulary.serialized_model_proto())


def _fresh(folder: str | Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    Path(folder).mkdir(parents=True)
    return Path(folder)


def _inference_yaml(
    hyperparams_file: str | Path,
    files: tuple[str, ...],
    half: str,
    model_hash: bytes,
    interface: type[AcomInterface],
) -> str:
    """The part of the training YAML that inference needs, and a pretrainer."""
    yaml = ruamel.yaml.YAML()
    trained = yaml.load(Path(hyperparams_file).read_text(encoding="utf-8"))
    kept = ["sample_rate", "compute_features", "normalize", "split"]
    kept += [interface.VOCABULARY, *interface.TASK_KEYS]
    tree = _tree(yaml, {key: trained[key] for key in kept})
    tail = ["prior: !new:speechbrain_acom.inference.parameters.PriorFile"]
    tail += [f"half: {half}"]
    tail += [f"interface: {interface.__name__}"]
    tail += [f'model_hash: "{model_hash.hex()}"', "modules:"]
    for name in ("compute_features", "normalize", "split"):
        tail.append(f"    {name}: !ref <{name}>")
    tail.append(
        "pretrainer: !new:speechbrain.utils.parameter_transfer.Pretrainer"
    )
    tail.append("    loadables:")
    for name in files:
        if name in ("device", "cloud"):
            tail += [
                f"        {name}: !new:"
                "speechbrain_acom.inference.parameters.HalfWeights",
                "            split: !ref <split>",
                f"            half: {name}",
            ]
        else:
            tail.append(f"        {name}: !ref <{name}>")
    return tree + "\n".join(tail) + "\n"


def _tree(yaml: ruamel.yaml.YAML, content: dict[str, Any]) -> str:
    text = StringIO()
    yaml.dump(content, text)
    return text.getvalue()
