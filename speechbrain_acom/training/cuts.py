"""The features at the cut of a whole data set, as an evaluation sees them."""

from collections.abc import Iterable, Iterator
from typing import Any

import speechbrain as sb
import torch
from speechbrain.utils.distributed import if_main_process
from torch import Tensor
from tqdm import tqdm

from speechbrain_acom.bottleneck import Bottleneck
from speechbrain_acom.errors import DataError
from speechbrain_acom.lengths import frame_mask
from speechbrain_acom.splits import CutFrames


@torch.no_grad()
def cuts(
    brain: sb.Brain, dataset: Any, loader_kwargs: dict, title: str
) -> Iterator[CutFrames]:
    """Run the device half on a data set, with a progress bar.

    In a distributed training every process reads the same batches. Files that
    cannot be read are left out, and counted by the brain.

    Arguments
    ---------
    brain : AcomBrain
        Its modules are left in evaluation mode.
    dataset : DynamicItemDataset
        The data set.
    loader_kwargs : dict
        Passed to ``make_dataloader``.
    title : str
        What the progress bar says.

    Returns
    -------
    Iterator[CutFrames]
        What the device half gives, a batch at a time.
    """
    brain.modules.eval()
    # A normalizer without statistics learns them from the same batches.
    brain.modules.normalize.train(brain.modules.normalize.count == 0)
    kwargs = {**loader_kwargs, "ckpt_prefix": None}
    loader = brain.make_dataloader(dataset, sb.Stage.VALID, **kwargs)
    shown = not brain.noprogressbar and if_main_process()
    for batch in tqdm(loader, desc=title, disable=not shown):
        brain.skipped.add(batch)
        if len(batch) > 0:
            features, lengths = brain.features(batch, epoch=0)
            yield brain.split.device(features, lengths)


@torch.no_grad()
def merged_frames(
    brain: sb.Brain, dataset: Any, loader_kwargs: dict, most: int
) -> Tensor:
    """Frames that a quantizer can start from.

    Arguments
    ---------
    brain, dataset, loader_kwargs
        As for :func:`cuts`.
    most : int
        No further batch is read once there are so many frames.

    Returns
    -------
    Tensor
        Real frames after merging, shape (frame, channel).

    Raises
    ------
    DataError
        If no file can be read.
    """
    batches = cuts(brain, dataset, loader_kwargs, "starting codebooks")
    frames = first_merged_frames(
        brain.bottleneck, ((cut.values, cut.lengths) for cut in batches), most
    )
    if frames is None:
        raise DataError(
            "training set: found no readable file, expected audio to start "
            "the quantizer from"
        )
    return frames


def first_merged_frames(
    bottleneck: Bottleneck,
    batches: Iterable[tuple[Tensor, Tensor | None]],
    most: int,
) -> Tensor | None:
    """Real frames after merging, of as many batches as are needed.

    Arguments
    ---------
    bottleneck : Bottleneck
        Its merge is used.
    batches : Iterable[tuple[Tensor, Tensor | None]]
        Values (batch, frame, channel) and relative lengths (batch,).
    most : int
        No further batch is taken once there are so many frames.

    Returns
    -------
    Tensor | None
        float32, shape (frame, channel); None if there is no batch.
    """
    frames, count = [], 0
    for batch in batches:
        values, lengths = bottleneck.merged(*batch)
        frames.append(values[frame_mask(lengths, values)].float())
        count += len(frames[-1])
        if count >= most:
            break
    return torch.cat(frames) if frames else None
