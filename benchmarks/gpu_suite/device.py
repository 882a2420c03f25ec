"""The GPU that a suite ran on."""

from dataclasses import dataclass, field

import torch

from benchmarks.harness.device_state import DeviceState
from benchmarks.harness.nvml import open_gpu
from benchmarks.harness.report_file import ABSENT_IF_NONE


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """A device, and what its driver says of it."""

    name: str
    compute_capability: str
    multiprocessors: int
    memory_bytes: int
    cuda: str | None
    """Version of CUDA that PyTorch was built for."""
    driver: dict[str, str] | None = field(default=None, metadata=ABSENT_IF_NONE)
    """What nvidia-smi printed, by its names, in reports of versions before 0.8."""
    driver_version: str | None = None
    """None without nvidia-ml-py."""
    state: DeviceState | None = None
    """Clocks, power, temperature and throttling; None without nvidia-ml-py."""


def describe_gpu() -> Gpu | None:
    """The first device; None where there is none."""
    if not torch.cuda.is_available():
        return None
    properties, seen = torch.cuda.get_device_properties(0), open_gpu("cuda:0")
    return Gpu(
        name=properties.name,
        compute_capability=f"{properties.major}.{properties.minor}",
        multiprocessors=properties.multi_processor_count,
        memory_bytes=properties.total_memory,
        cuda=torch.version.cuda,
        driver_version=seen.driver_version() if seen else None,
        state=seen.state() if seen else None,
    )
