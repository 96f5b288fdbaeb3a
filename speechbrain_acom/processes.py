"""What the processes of a distributed training must agree on."""

from typing import Any

import torch
from torch import Tensor


def sum_over_processes(values: Tensor) -> Tensor:
    """Sum a tensor over all processes; every process must call this.

    Arguments
    ---------
    values : Tensor
        Of the same shape in every process.

    Returns
    -------
    Tensor
        The sum; ``values`` itself where there is one process only.

    Example
    -------
    >>> sum_over_processes(torch.ones(2)).tolist()
    [1.0, 1.0]
    """
    if not _distributed():
        return values
    total = values.clone().to(_reachable(values))
    torch.distributed.all_reduce(total)
    return total.to(values.device)


def copy_from_first_process(values: Tensor) -> None:
    """Overwrite a tensor with the first process's; every process calls this.

    Arguments
    ---------
    values : Tensor
        Of the same shape in every process; changed in place.

    Example
    -------
    >>> copy_from_first_process(torch.ones(2))
    """
    if not _distributed():
        return
    first = values.detach().to(_reachable(values)).contiguous()
    torch.distributed.broadcast(first, src=0)
    values.detach().copy_(first)


def copy_module_from_first_process(module: torch.nn.Module) -> None:
    """Overwrite all of a module's state; every process calls this.

    Arguments
    ---------
    module : torch.nn.Module
        Of the same shape in every process.

    Example
    -------
    >>> copy_module_from_first_process(torch.nn.Linear(2, 3))
    """
    for values in module.state_dict().values():
        copy_from_first_process(values)


def gather_from_processes(value: Any) -> list[Any]:
    """What every process has; every process must call this.

    Arguments
    ---------
    value : Any
        Anything that can be pickled.

    Returns
    -------
    list[Any]
        One of each process, in their order.

    Example
    -------
    >>> gather_from_processes("here")
    ['here']
    """
    if not _distributed():
        return [value]
    found = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(found, value)
    return found


def _distributed() -> bool:
    return (
        torch.distributed.is_available() and torch.distributed.is_initialized()
    )


def _reachable(values: Tensor) -> torch.device:
    """Device from which the backend can send: nccl reads no host memory."""
    if torch.distributed.get_backend() == "nccl":
        return torch.device("cuda", torch.cuda.current_device())
    return values.device
