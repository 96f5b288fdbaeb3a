"""A bottleneck in somebody else's Brain: starting it, and its codes.

:class:`~speechbrain_acom.training.AcomBrain` does all of this by itself. These
functions are for recipes that keep a Brain class of their own: they run its
``compute_forward`` and look at what passes through the bottleneck.
"""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from inspect import signature
from typing import Any

import numpy as np
import speechbrain as sb
import torch
from torch import Tensor
from torch.utils.data import IterableDataset

from speechbrain_acom.bottleneck import Bottleneck, BottleneckResult
from speechbrain_acom.errors import ConfigurationError
from speechbrain_acom.training.start import (
    Arrival,
    evaluation_batches,
    start_bottleneck,
    utterance_codes,
)


@dataclass
class Passage:
    """One batch on its way through a bottleneck.

    Arguments
    ---------
    values : Tensor
        What went in, shape (batch, frame, channel).
    lengths : Tensor | None
        Its relative lengths, shape (batch,).
    result : BottleneckResult
        What came out.
    """

    values: Tensor
    lengths: Tensor | None
    result: BottleneckResult


def start_from_data(
    brain: sb.Brain, dataset: Any, loader_kwargs: dict | None = None
) -> None:
    """Start the quantizer of any Brain from its training data.

    Call it before ``brain.fit``. The Brain's ``compute_forward`` is run on
    shuffled batches, as in validation, until 50 000 frames have arrived at
    the bottleneck. A training that is resumed loads its checkpoint
    afterwards, so that nothing is lost. In a distributed training every
    process must call this.

    Arguments
    ---------
    brain : sb.Brain
        One of its modules is, or holds, a
        :class:`~speechbrain_acom.bottleneck.Bottleneck`.
    dataset : Dataset
        The training set, as for ``brain.fit``.
    loader_kwargs : dict | None
        As ``train_loader_kwargs`` of ``brain.fit``.

    Raises
    ------
    ConfigurationError
        If there is not exactly one bottleneck.
    DataError
        If no frame arrives at it.
    """
    kwargs = _shuffled(dataset, loader_kwargs)

    def arrivals(title: str) -> Iterator[Arrival]:
        with closing(_passages(brain, dataset, kwargs, title)) as passages:
            for passage in passages:
                yield passage.values, passage.lengths

    start_bottleneck(_bottleneck(brain), arrivals)


def training_codes(
    brain: sb.Brain, dataset: Any, loader_kwargs: dict | None = None
) -> Iterator[np.ndarray]:
    """Codes of a data set, an utterance at a time, for fitting a prior.

    Arguments
    ---------
    brain : sb.Brain
        As for :func:`start_from_data`.
    dataset : Dataset
        The training set.
    loader_kwargs : dict | None
        As ``train_loader_kwargs`` of ``brain.fit``.

    Returns
    -------
    Iterator[np.ndarray]
        int64 codes, shape (code frame, K), of one utterance each.

    Raises
    ------
    ConfigurationError
        If there is not exactly one bottleneck.
    """
    kwargs = dict(loader_kwargs or {})
    for passage in _passages(brain, dataset, kwargs, "coding the training set"):
        yield from utterance_codes(passage.result)


def _bottleneck(brain: sb.Brain) -> Bottleneck:
    """The only bottleneck among the modules of a Brain."""
    found = [m for m in brain.modules.modules() if isinstance(m, Bottleneck)]
    if len(found) != 1:
        raise ConfigurationError(
            "bottlenecks in modules", len(found), "1: that of your split"
        )
    return found[0]


@torch.no_grad()
def _passages(
    brain: sb.Brain, dataset: Any, loader_kwargs: dict, title: str
) -> Iterator[Passage]:
    """Run a Brain on a data set and see what passes through its bottleneck."""
    bottleneck, seen = _bottleneck(brain), []

    def look(
        module: Bottleneck, inputs: tuple, named: dict, result: BottleneckResult
    ) -> None:
        given = signature(module.forward).bind(*inputs, **named).arguments
        seen.append(Passage(given["features"], given.get("lengths"), result))

    handle = bottleneck.register_forward_hook(look, with_kwargs=True)
    try:
        batches = evaluation_batches(brain, dataset, loader_kwargs, title)
        with closing(batches):
            for batch in batches:
                brain.compute_forward(batch, sb.Stage.VALID)
                yield from seen
                seen.clear()
    finally:
        handle.remove()


def _shuffled(dataset: Any, loader_kwargs: dict | None) -> dict:
    """Loader options in another order: recipes often sort by duration.

    SpeechBrain shuffles from one seed, so that all processes read the same.
    """
    kwargs = dict(loader_kwargs or {})
    ordered = {"sampler", "batch_sampler"} & kwargs.keys()
    if not ordered and not isinstance(dataset, IterableDataset):
        kwargs["shuffle"] = True
    return kwargs
