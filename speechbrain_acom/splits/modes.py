"""Measuring a model without leaving a trace in it."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def evaluation_mode(model: torch.nn.Module) -> Iterator[None]:
    """Put all of a model into evaluation mode, and back afterwards.

    Modules that were in evaluation mode before, a frozen half for instance,
    stay there.

    Arguments
    ---------
    model : torch.nn.Module
        Running statistics stay as they are while the context lasts.

    Example
    -------
    >>> model = torch.nn.Dropout()
    >>> with evaluation_mode(model):
    ...     model.training
    False
    >>> model.training
    True
    """
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training
