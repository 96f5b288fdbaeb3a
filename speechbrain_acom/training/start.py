"""What a bottleneck needs of a data set: a start, and codes for a prior."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from typing import Any

import numpy as np
import speechbrain as sb
import torch
from speechbrain.processing.features import InputNormalization
from speechbrain.utils.distributed import if_main_process
from torch import Tensor
from tqdm import tqdm

from speechbrain_acom.bottleneck import Bottleneck, BottleneckResult
from speechbrain_acom.errors import DataError
from speechbrain_acom.lengths import frame_counts, frame_mask
from speechbrain_acom.splits.modes import evaluation_mode

# k-means starts from these: more cost time and change little.
INITIALIZATION_FRAMES = 50_000

# Values (batch, frame, channel) at the bottleneck and relative lengths (batch,).
Arrival = tuple[Tensor, Tensor | None]


def evaluation_batches(
    brain: sb.Brain, dataset: Any, loader_kwargs: dict, title: str
) -> Iterator[Any]:
    """Batches of a data set while a Brain is in evaluation mode.

    In a distributed training every process gets the same batches.

    Arguments
    ---------
    brain : sb.Brain
        Its modules are as before afterwards. A normalizer without statistics
        learns them from these batches, for it cannot normalise without.
    dataset : Dataset
        The data set.
    loader_kwargs : dict
        Passed to ``make_dataloader``.
    title : str
        What the progress bar says.

    Returns
    -------
    Iterator[Any]
        The batches; close it if not all of them are taken.
    """
    kwargs = {**loader_kwargs, "ckpt_prefix": None}
    loader = brain.make_dataloader(dataset, sb.Stage.VALID, **kwargs)
    shown = not brain.noprogressbar and if_main_process()
    with evaluation_mode(brain.modules):
        for module in brain.modules.modules():
            if isinstance(module, InputNormalization) and module.count == 0:
                module.train()
        yield from tqdm(loader, desc=title, disable=not shown)


@torch.no_grad()
def start_bottleneck(
    bottleneck: Bottleneck, arrivals: Callable[[str], Iterator[Arrival]]
) -> None:
    """Start merge and quantizer from what arrives at a bottleneck.

    Arguments
    ---------
    bottleneck : Bottleneck
        What to start.
    arrivals : Callable[[str], Iterator[Arrival]]
        A generator over the training set, a batch at a time; called with what
        its progress bar says.

    Raises
    ------
    DataError
        If no frame arrives.
    """
    calibrate_merge(bottleneck, arrivals)
    if bottleneck.quantizer.lossless:
        return
    with closing(arrivals("starting codebooks")) as seen:
        frames = _first_merged_frames(bottleneck, seen)
    if len(frames) == 0:
        raise DataError(
            "training set: found no frame at the bottleneck, expected audio "
            "that can be read and a model that calls the split"
        )
    bottleneck.initialize(torch.cat(frames))


@torch.no_grad()
def calibrate_merge(
    bottleneck: Bottleneck, arrivals: Callable[[str], Iterator[Arrival]]
) -> None:
    """Let the mean run have as many frames as was asked for.

    Arguments
    ---------
    bottleneck : Bottleneck
        Its merge, where that has runs.
    arrivals : Callable[[str], Iterator[Arrival]]
        As for :func:`start_bottleneck`.
    """
    if bottleneck.framing.run_lengths:
        with closing(arrivals("calibrating the merge")) as seen:
            bottleneck.calibrate(seen)


def utterance_codes(result: BottleneckResult) -> Iterator[np.ndarray]:
    """Codes of each utterance of a batch, without padding.

    Arguments
    ---------
    result : BottleneckResult
        What a bottleneck gave.

    Returns
    -------
    Iterator[np.ndarray]
        int64 codes, shape (code frame, K), of one utterance each.
    """
    counts = frame_counts(result.code_lengths, result.codes)
    for codes, count in zip(result.codes, counts, strict=True):
        yield codes[:count].cpu().numpy()


def _first_merged_frames(
    bottleneck: Bottleneck, batches: Iterable[Arrival]
) -> list[Tensor]:
    """Real frames after merging, of as many batches as are needed.

    float32, shape (frame, channel) each; none of them is empty.
    """
    frames, count = [], 0
    for batch in batches:
        values, lengths = bottleneck.merged(*batch)
        real = values[frame_mask(lengths, values)].float()
        if len(real) > 0:
            frames.append(real)
        count += len(real)
        if count >= INITIALIZATION_FRAMES:
            break
    return frames
