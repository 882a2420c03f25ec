"""What training and evaluation need to know of other processes. In a single process, each function is the identity."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, distributed

from refinemask.files import UserError


@contextmanager
def process_group(device: str) -> Iterator[torch.device]:
    """Join the other processes that ``torchrun`` started, if it did, and yield this process's device.

    Raises:
        UserError: there is no such device.
    """
    local = _device(device)
    if "RANK" not in os.environ:
        yield local
        return
    cuda = local.type == "cuda"
    if cuda:
        local = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(local)
    distributed.init_process_group("nccl" if cuda else "gloo", device_id=local if cuda else None)
    try:
        yield local
    finally:
        distributed.destroy_process_group()


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UserError(f"--device is {name}; expected cpu or cuda") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UserError(f"device '{name}' was asked for, but PyTorch sees no GPU; use --device cpu")
    return device


def world() -> tuple[int, int]:
    """Rank of this process, and number of processes."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


def is_main() -> bool:
    """Whether this process writes the files."""
    return world()[0] == 0


def mean_over_ranks(x: Tensor) -> Tensor:
    """Mean of a tensor over all processes, without gradient; every process must call it equally often."""
    _, size = world()
    if size == 1:
        return x.detach()
    total = x.detach().clone()
    distributed.all_reduce(total)
    return total / size


def any_rank(flag: bool, device: torch.device) -> bool:
    """Whether the flag is set in any process."""
    return bool(mean_over_ranks(torch.tensor(float(flag), device=device)) > 0)


def gather(value: Any) -> list[Any]:
    """The value of every process, in rank order, in every process."""
    _, size = world()
    if size == 1:
        return [value]
    values: list[Any] = [None] * size
    distributed.all_gather_object(values, value)
    return values


def share(total: int, what: str) -> int:
    """Each process's equal part of ``total``, which the error calls ``what``.

    Raises:
        UserError: ``total`` cannot be divided equally.
    """
    _, size = world()
    if total % size:
        raise UserError(f"{what} {total} cannot be divided among {size} processes; give a multiple of {size}")
    return total // size
