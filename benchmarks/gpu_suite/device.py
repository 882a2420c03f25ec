"""The GPU that a suite ran on."""

import subprocess
from dataclasses import dataclass

import torch


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """A device, and what its driver says of it."""

    name: str
    compute_capability: str
    multiprocessors: int
    memory_bytes: int
    cuda: str | None
    """Version of CUDA that PyTorch was built for."""
    driver: dict[str, str]
    """Version, clocks, temperature, power and throttling by nvidia-smi's names; empty where it is missing."""


def describe_gpu() -> Gpu | None:
    """The first device; None where there is none."""
    if not torch.cuda.is_available():
        return None
    properties = torch.cuda.get_device_properties(0)
    return Gpu(
        name=properties.name,
        compute_capability=f"{properties.major}.{properties.minor}",
        multiprocessors=properties.multi_processor_count,
        memory_bytes=properties.total_memory,
        cuda=torch.version.cuda,
        driver=_driver(),
    )


def _driver() -> dict[str, str]:
    query = "driver_version,clocks.sm,clocks.mem,temperature.gpu,power.draw,clocks_throttle_reasons.active"
    command = ["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader", "--id=0"]
    try:
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return {}
    return dict(zip(query.split(","), map(str.strip, text.split(",")), strict=False))
