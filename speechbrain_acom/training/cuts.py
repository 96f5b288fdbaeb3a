"""The features at the cut of a whole data set, as an evaluation sees them."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import speechbrain as sb
import torch

from speechbrain_acom.splits import CutFrames
from speechbrain_acom.training.start import evaluation_batches


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
        Its device half is in evaluation mode meanwhile.
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
    batches = evaluation_batches(brain, dataset, loader_kwargs, title)
    with closing(batches):
        for batch in batches:
            brain.skipped.add(batch)
            if len(batch) > 0:
                yield brain.cut_of(batch, epoch=0)
