"""What training and evaluation need to know of other processes. In a single process, each function is the identity."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Any

from refinemask.files import UserError
from refinemask.orphans import end_with_parent

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@contextmanager
def process_group(device: str) -> Iterator[str]:
    """Join the other processes that ``torchrun`` started, if it did, and yield the name of this process's device.

    Raises:
        UserError: there is no such device.
    """
    if "RANK" not in os.environ:
        _require_device(device)
        yield device
        return
    import torch
    from torch import distributed

    if "TORCHELASTIC_RUN_ID" in os.environ:
        # Of a launcher that was killed nobody would tell. At SIGTERM a training saves its state.
        end_with_parent(os.getppid(), signal.SIGTERM)
    _require_device(device)
    cuda = torch.device(device).type == "cuda"
    if cuda:
        device = f"cuda:{os.environ['LOCAL_RANK']}"
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if cuda else "gloo", device_id=torch.device(device) if cuda else None)
    try:
        yield device
    finally:
        distributed.destroy_process_group()


def _require_device(name: str) -> None:
    if name == "cpu":
        return
    try:
        import torch
    except ImportError:
        # The engine that needs no PyTorch finds the device by itself.
        return
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name in {"cuda", "cuda:0"} and not gpus:
        raise UserError(f"--device is {name}, but PyTorch sees no GPU; use --device cpu")
    if name not in {"cuda", *(f"cuda:{index}" for index in range(gpus))}:
        found = ", ".join(["cpu", *(f"cuda:{index} ({torch.cuda.get_device_name(index)})" for index in range(gpus))])
        raise UserError(f"--device is {name}; this project computes on cpu or cuda, and here there is {found}")


def world() -> tuple[int, int]:
    """Rank of this process, and number of processes."""
    group = _group()
    return (0, 1) if group is None else (group.get_rank(), group.get_world_size())


def _group() -> ModuleType | None:
    """PyTorch's module of process groups if this process has joined one, and so has imported it."""
    distributed = sys.modules.get("torch.distributed")
    joined = distributed is not None and distributed.is_available() and distributed.is_initialized()
    return distributed if joined else None


def is_main() -> bool:
    """Whether this process writes the files."""
    return world()[0] == 0


def say(*lines: str) -> None:
    """Print lines to standard error once, however many processes there are."""
    if is_main():
        for line in lines:
            print(line, file=sys.stderr)


def mean_over_ranks(x: "Tensor") -> "Tensor":
    """Mean of a tensor over all processes, without gradient; every process must call it equally often."""
    group = _group()
    if group is None:
        return x.detach()
    total = x.detach().clone()
    group.all_reduce(total)
    return total / group.get_world_size()


def any_rank(flag: bool, device: "torch.device") -> bool:
    """Whether the flag is set in any process."""
    import torch

    return bool(mean_over_ranks(torch.tensor(float(flag), device=device)) > 0)


def gather(value: Any) -> list[Any]:
    """The value of every process, in rank order, in every process."""
    group = _group()
    if group is None:
        return [value]
    values: list[Any] = [None] * group.get_world_size()
    group.all_gather_object(values, value)
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
