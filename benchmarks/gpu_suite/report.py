"""What the GPU suite came to."""

from dataclasses import dataclass

from benchmarks.gpu_suite.detector import DetectorReport
from benchmarks.gpu_suite.device import Gpu
from benchmarks.gpu_suite.goals import GoalReport
from benchmarks.gpu_suite.kernel_times import KernelTime
from benchmarks.gpu_suite.network import NetworkReport
from benchmarks.gpu_suite.numerics import Check
from benchmarks.harness.provenance import Provenance


@dataclass(frozen=True)
class TimeReport:
    """A kernel on one workload."""

    workload: str
    time: KernelTime


@dataclass(frozen=True, kw_only=True)
class GpuReport:
    """Every part's results, and the parts that have none."""

    provenance: Provenance
    gpu: Gpu | None
    seconds: float
    """Wall-clock time of the suite."""
    checks: tuple[Check, ...]
    times: tuple[TimeReport, ...]
    """Times of the kernels, by workload."""
    copy_bytes_per_second: float | None
    """Bandwidth of a copy within the device, read and written bytes counted."""
    goals: tuple[GoalReport, ...]
    detector: DetectorReport | None
    networks: NetworkReport | None
    not_run: dict[str, str]
    """Reasons by part, such as what this machine lacks."""
    failed: dict[str, str]
    """Errors by part."""

    @property
    def failed_checks(self) -> tuple[Check, ...]:
        """The checks that did not pass."""
        return tuple(check for check in self.checks if not check.passed)
