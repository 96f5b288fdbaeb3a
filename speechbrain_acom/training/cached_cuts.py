"""Training on features at the cut that a frozen device half gave once.

Where neither the device half nor what stands before it changes, an epoch has
nothing new to say of it: its features are computed once, an utterance at a
time, as a device does, and read again in every epoch.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import speechbrain as sb
import torch
from speechbrain.dataio.dataset import DynamicItemDataset
from speechbrain.utils.distributed import run_on_main
from speechbrain.utils.logger import get_logger
from torch import Tensor

from speechbrain_acom.errors import ConfigurationError
from speechbrain_acom.lengths import frame_counts
from speechbrain_acom.training.cut_cache import (
    CutCache,
    cached_fingerprint,
    write_cut_cache,
)
from speechbrain_acom.training.start import evaluation_batches
from speechbrain_acom.training.tuned_parts import FROZEN

logger = get_logger(__name__)

# What a batch has instead of the audio.
AUDIO, CUT = "sig", "cut"


def check_cached(brain: sb.Brain) -> None:
    """Complain where an epoch has something new to say of the features.

    Arguments
    ---------
    brain : AcomBrain
        Whose training is to be cached.

    Raises
    ------
    ConfigurationError
        If the device half is trained, the audio is augmented, the
        normalisation still learns, or there is a teacher.
    """
    hparams = brain.hparams
    if "device_half" not in FROZEN[hparams.tuned]:
        raise ConfigurationError(
            "tuned", hparams.tuned, "lobe_and_cloud or lobe with cut_cache"
        )
    for key in ("signal_augmentation", "augmentation"):
        if getattr(hparams, key) is not None:
            raise ConfigurationError(
                key, "one", "null with cut_cache: it changes features"
            )
    until = brain.modules.normalize.update_until_epoch
    if until > 1:
        raise ConfigurationError(
            "normalize.update_until_epoch", until, "at most 1 with cut_cache"
        )
    if brain.modules.normalize.count == 0:
        raise ConfigurationError(
            "pretrained_path", "nothing", "a trained device half for cut_cache"
        )
    if brain.distillation.active or brain.bottleneck.quantizer.taught:
        raise ConfigurationError(
            "distillation_weight", "a teacher", "none with cut_cache"
        )


@contextmanager
def cached_cuts(
    brain: sb.Brain,
    datasets: Mapping[str, DynamicItemDataset],
    loader_kwargs: dict,
) -> Iterator[None]:
    """Let batches hold features at the cut, where ``cut_cache`` says so.

    What is not cached yet is computed first, and so is what was cached of
    another device half or of other audio.

    Arguments
    ---------
    brain : AcomBrain
        Its device half gives the features; ``cut_cache`` is the folder of the
        caches, or empty.
    datasets : Mapping[str, DynamicItemDataset]
        By the name of the cache; they have the items "id" and "sig".
    loader_kwargs : dict
        Of a loader of theirs; only workers and collate_fn count.

    Raises
    ------
    ConfigurationError
        As :func:`check_cached`.
    DataError
        If a cache is damaged, or the disk is full.
    """
    folder = brain.hparams.cut_cache
    if not folder:
        yield
        return
    check_cached(brain)
    with ExitStack() as stack:
        for name, dataset in datasets.items():
            place = Path(folder, name)
            dataset.cut_cache = _opened(brain, place, dataset, loader_kwargs)
            if CUT not in dataset.pipeline.key_to_node:
                read = partial(_read, dataset)
                dataset.add_dynamic_item(read, takes="id", provides=CUT)
            keys = dataset.pipeline.output_mapping
            keys = [CUT if key == AUDIO else key for key in keys]
            stack.enter_context(dataset.output_keys_as(keys))
        brain.at_cut = True
        try:
            yield
        finally:
            brain.at_cut = False


def fingerprint(brain: sb.Brain, dataset: DynamicItemDataset) -> str:
    """What cached features depend on: device half, features, audio.

    Arguments
    ---------
    brain : AcomBrain
        Whose device half it is.
    dataset : DynamicItemDataset
        With the column "wav".

    Returns
    -------
    str
        SHA-256, in hexadecimal.
    """
    digest = hashlib.sha256()
    for part in (brain.split.device_half, brain.modules.normalize):
        for name, value in sorted(part.state_dict().items()):
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    normalize = brain.modules.normalize
    for value in (normalize.glob_mean, normalize.glob_std):
        digest.update(torch.as_tensor(value).cpu().numpy().tobytes())
    settings = [
        _settings(module)
        for module in (brain.hparams.compute_features, brain.split.device_half)
    ]
    digest.update(json.dumps(settings, default=str).encode())
    digest.update(repr(brain.split.evaluation_chunks()).encode())
    for name, row in sorted(dataset.data.items()):
        path = Path(row["wav"])
        size = path.stat().st_size if path.is_file() else -1
        digest.update(f"{name} {path} {size}\n".encode())
    return digest.hexdigest()


def _settings(compute: Any) -> dict[str, dict[str, Any]]:
    """Plain attributes of a module and of those inside it."""
    if not isinstance(compute, torch.nn.Module):
        return {"": {"kind": repr(compute)}}
    return {
        name: {
            "kind": type(module).__name__,
            **{
                key: value
                for key, value in sorted(vars(module).items())
                if isinstance(value, int | float | str) and key != "training"
            },
        }
        for name, module in compute.named_modules()
    }


def _opened(
    brain: sb.Brain,
    place: Path,
    dataset: DynamicItemDataset,
    loader_kwargs: dict,
) -> CutCache:
    """The cache of a data set, computed if need be."""
    wanted = fingerprint(brain, dataset)

    def write() -> None:
        if cached_fingerprint(place) == wanted:
            return
        logger.info("caching the features at the cut in %s", place)
        utterances = _utterances(brain, dataset, loader_kwargs)
        # A training is the same whether it finds the cache or makes it.
        with torch.random.fork_rng(devices=[]):
            write_cut_cache(place, utterances, wanted)

    # By the first process; all wait for it.
    run_on_main(write)
    return CutCache(place, wanted)


@torch.no_grad()
def _utterances(
    brain: sb.Brain, dataset: DynamicItemDataset, loader_kwargs: dict
) -> Iterator[tuple[str, Tensor]]:
    """ID and features of every utterance, each on its own."""
    kwargs = {
        key: value
        for key, value in loader_kwargs.items()
        if key in ("num_workers", "collate_fn")
    }
    kwargs["batch_size"] = 1
    title = "caching features"
    with (
        dataset.output_keys_as(["id", AUDIO]),
        closing(evaluation_batches(brain, dataset, kwargs, title)) as batches,
    ):
        for batch in batches:
            brain.skipped.add(batch)
            if len(batch):
                cut = brain.cut_of(batch, epoch=0)
                frames = int(frame_counts(cut.lengths, cut.values)[0])
                yield batch.id[0], cut.values[0, :frames]


def _read(dataset: DynamicItemDataset, utterance: str) -> Tensor:
    """From the cache that the data set has now."""
    return dataset.cut_cache.read(utterance)
