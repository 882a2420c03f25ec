"""The ceilings count what was moved and computed, and leave PyTorch's precision as it was."""

from collections.abc import Sequence

import pytest
import torch

from benchmarks.gpu_suite.ceilings import copy_bandwidth, product_rate
from benchmarks.gpu_suite.timing import Timing, Work


def one_millisecond(variants: Sequence[Work], graph: bool = True) -> Timing:
    for work in variants:
        work()
    return Timing.of([1000.0], graph)


def test_rates_count_bytes_and_operations() -> None:
    assert copy_bandwidth(one_millisecond, "cpu", 1000) == 2000 / 1e-3
    assert product_rate(one_millisecond, "cpu", 10, torch.float32, tf32=False) == 2000 / 1e-3


@pytest.mark.parametrize("before", [False, True])
def test_precision_is_as_before(before: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", before)
    seen: list[bool] = []

    def look(variants: Sequence[Work], graph: bool = True) -> Timing:
        seen.append(torch.backends.cuda.matmul.allow_tf32)
        return one_millisecond(variants, graph)

    for tf32 in (False, True):
        product_rate(look, "cpu", 10, torch.float32, tf32)
    assert seen == [False, True]
    assert torch.backends.cuda.matmul.allow_tf32 is before
