"""What this card can do at most: the bandwidth of a copy and the rates of matrix products."""

from dataclasses import dataclass

import torch

from benchmarks.gpu_suite.context import Context
from benchmarks.gpu_suite.device import Gpu, describe_gpu
from benchmarks.gpu_suite.timing import Timer
from refinemask.float32 import float32_products

TERA = 1e12
COPIED_BYTES, TINY_BYTES = 1 << 30, 1 << 20
SIDE, TINY_SIDE = 8192, 128
"""Rows and columns of the square matrices."""


@dataclass(frozen=True, kw_only=True)
class CeilingsReport:
    """The card, and its rates as measured."""

    gpu: Gpu | None
    """Device and driver after the measurement, while the clocks are those of work; None without a GPU."""
    copy_bytes_per_second: float
    """Bandwidth of a copy within the device, read and written bytes counted."""
    fp32_flops: float
    """Operations per second of a square product in strict float32; a multiplication and an addition are two."""
    tf32_flops: float
    """Operations per second of a square product in TensorFloat-32."""
    fp16_flops: float
    """Operations per second of a square product in float16."""

    @property
    def headline(self) -> str:
        """The key figures in one line."""
        copy, *products = (
            rate / TERA for rate in (self.copy_bytes_per_second, self.fp32_flops, self.tf32_flops, self.fp16_flops)
        )
        return "copy {:.3g} TB/s; products fp32 {:.3g}, tf32 {:.3g}, fp16 {:.3g} TFLOP/s".format(copy, *products)


def measure_ceilings(context: Context) -> CeilingsReport:
    """Measure the device's ceilings."""
    device, side = context.device, TINY_SIDE if context.tiny else SIDE
    timer = context.timer(rounds=20)
    bandwidth = copy_bandwidth(timer, device, TINY_BYTES if context.tiny else COPIED_BYTES)
    rates = [
        product_rate(timer, device, side, dtype, tf32)
        for dtype, tf32 in ((torch.float32, False), (torch.float32, True), (torch.float16, False))
    ]
    return CeilingsReport(
        gpu=describe_gpu() if context.cuda else None,
        copy_bytes_per_second=bandwidth,
        fp32_flops=rates[0],
        tf32_flops=rates[1],
        fp16_flops=rates[2],
    )


def copy_bandwidth(timer: Timer, device: str, size: int) -> float:
    """Bytes per second of a copy of ``size`` bytes within the device, read and written bytes counted."""
    source = torch.randint(255, (size,), dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * size / (timer([lambda: target.copy_(source)]).p50 * 1e-6)


def product_rate(timer: Timer, device: str, side: int, dtype: torch.dtype, tf32: bool) -> float:
    """Operations per second of a product of two random square matrices."""
    # Random, for a product of zeros draws less power and runs at a higher clock.
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    with float32_products(tf32=tf32):
        return 2 * side**3 / (timer([lambda: a @ b]).p50 * 1e-6)
