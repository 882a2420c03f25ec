"""The little that training needs to know about the other processes; without any, all of it is the identity."""

from torch import Tensor, distributed


def world() -> tuple[int, int]:
    """(rank, number of processes)."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


def mean_over_ranks(x: Tensor) -> Tensor:
    """Mean of a detached tensor over all processes; every process must call it equally often."""
    _, size = world()
    if size == 1:
        return x
    total = x.detach().clone()
    distributed.all_reduce(total)
    return total / size
