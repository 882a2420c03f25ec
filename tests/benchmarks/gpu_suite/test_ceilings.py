"""The ceilings count what was moved and computed, in the precision that they name."""

from collections.abc import Sequence

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


def test_float32_products_are_measured_in_both_precisions() -> None:
    seen: list[str] = []

    def look(variants: Sequence[Work], graph: bool = True) -> Timing:
        seen.append(torch.backends.cuda.matmul.fp32_precision)
        return one_millisecond(variants, graph)

    before = torch.backends.cuda.matmul.fp32_precision
    for tf32 in (False, True):
        product_rate(look, "cpu", 10, torch.float32, tf32)
    assert seen == ["ieee", "tf32"]
    assert torch.backends.cuda.matmul.fp32_precision == before
