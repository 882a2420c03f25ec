"""All that a machine with a CUDA GPU can prove, within minutes: ``python -m benchmarks.gpu_suite --out DIR``."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
import tyro
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.gpu_suite import detector, kernel_times, network, numerics
from benchmarks.gpu_suite.cases import MERGE_CASES, NMS_CASES, ROI_ALIGN_CASES
from benchmarks.gpu_suite.goals import goals
from benchmarks.gpu_suite.kernel_times import KernelTime
from benchmarks.gpu_suite.network import NotRunError
from benchmarks.gpu_suite.numerics import Check
from benchmarks.gpu_suite.timing import CudaTimer, Timer, copy_bandwidth
from benchmarks.harness.provenance import provenance
from refinemask.bundled import DEMO
from refinemask.files import UserError, atomic_write
from refinemask.weights import load_detector
from trt_plugins import kernels_path
from trt_plugins.c_api import Kernels
from trt_plugins.torch_ops import TorchKernels

COMPARISON_SECONDS = 90
"""Kept back from making engines: what has been made is to be measured too."""


@dataclass(frozen=True, kw_only=True)
class Args:
    """Check and time the kernels, and run the detector through every engine that is installed here."""

    out: Path
    """Directory for the JSON files and whatever is built on the way."""
    checkpoint: Path = DEMO / "weights" / "refinemask-nuclei.safetensors"
    """Detector for the part on whole networks."""
    minutes: float = 8
    """What does not fit is left out, and listed."""
    limit: int = 24
    """Images for the part on whole networks."""


@dataclass
class Suite:
    """The parts, their results so far and the time that is left."""

    args: Args
    device: str = "cuda"
    timer: Timer = field(default_factory=CudaTimer)
    checks: list[Check] = field(default_factory=list)
    times: list[KernelTime] = field(default_factory=list)
    bandwidth: float | None = None
    detector: dict[str, Any] = field(default_factory=dict)
    networks: dict[str, Any] = field(default_factory=dict)
    not_run: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    start: float = field(default_factory=time.monotonic)

    def left(self) -> float:
        return self.args.minutes * 60 - (time.monotonic() - self.start)

    def run(self, name: str, part: Callable[[], None]) -> None:
        """Run a part unless time is up; what it lacks or what breaks it is noted, and the suite goes on."""
        if self.left() <= 0:
            self.not_run.append(f"{name}: the {self.args.minutes:g} minutes were over")
            return
        print(f"{name} ({self.left():.0f} s left)", flush=True)
        try:
            part()
        except (NotRunError, UserError, FileNotFoundError) as error:
            self.not_run.append(f"{name}: {error}")
        except Exception as error:
            # A part that breaks must not take the results of the others with it.
            self.failed.append(f"{name}: {type(error).__name__}: {error}")

    def run_kernels(self) -> None:
        """Everything about the kernels, first: nothing else needs a GPU and nothing but a GPU."""
        kernels = TorchKernels(Kernels(kernels_path()))
        self.run("numerics", lambda: self._check(kernels))
        self.run("copy bandwidth", self._copy)
        for dtype in (torch.float16, torch.float32):
            name = str(dtype).removeprefix("torch.")
            self.run(f"RoIAlign times, {name}", partial(self._time_roi_align, kernels, dtype))
        self.run("NMS times", lambda: self._time_nms(kernels))
        self.run("merge times", lambda: self._time_merge(kernels))

    def run_detector(self) -> None:
        """PyTorch with the kernels, and with the eager operators."""
        images = sorted(network.IMAGES.iterdir())[: self.args.limit]
        model = load_detector(self.args.checkpoint, device=self.device)
        kernels = Kernels(kernels_path())
        self.detector = detector.compare_operators(model, images, kernels, self.timer, self.device)

    def run_networks(self) -> None:
        """Export, build and compare; each engine that cannot be made is listed."""
        engines = [self.args.checkpoint]
        for precision in network.precisions():
            self.run(f"export and engines, {precision}", partial(self._make_engines, precision, engines))
        self.run("comparison of engines", partial(self._compare, engines))

    def _make_engines(self, precision: str, engines: list[Path]) -> None:
        onnx = network.export_file(self.args.checkpoint, self.args.out, precision, self._left_for_engines())
        if precision == "fp32" and network.has_onnxruntime_cuda():
            engines.append(onnx)
        elif precision == "fp32":
            self.not_run.append("ONNX Runtime CUDA: its CUDA provider is not installed")
        engines.append(network.build_engine(onnx, precision, self._left_for_engines()))

    def _left_for_engines(self) -> float:
        return max(self.left() - COMPARISON_SECONDS, 1)

    def _compare(self, engines: list[Path]) -> None:
        self.networks = network.measure_engines(engines, self.args.out / "networks.json", self.args.limit)

    def _check(self, kernels: TorchKernels) -> None:
        for check in track(numerics.check_kernels(kernels, self.device), "checking kernels", transient=True):
            self.checks.append(check)

    def _copy(self) -> None:
        self.bandwidth = copy_bandwidth(self.timer, self.device)

    def _time_roi_align(self, kernels: TorchKernels, dtype: torch.dtype) -> None:
        self.times += kernel_times.time_roi_align(kernels, self.timer, self.device, dtype, ROI_ALIGN_CASES)

    def _time_nms(self, kernels: TorchKernels) -> None:
        self.times += kernel_times.time_nms(kernels, self.timer, self.device, NMS_CASES)

    def _time_merge(self, kernels: TorchKernels) -> None:
        self.times += kernel_times.time_merge(kernels, self.timer, self.device, MERGE_CASES)

    def to_json(self) -> dict[str, Any]:
        """The results with their provenance."""
        return {
            "provenance": provenance([self.args.checkpoint] if self.args.checkpoint.is_file() else []),
            "gpu": describe_gpu(),
            "seconds": round(time.monotonic() - self.start, 1),
            "checks": [check.to_json() for check in self.checks],
            "times": [entry.to_json() for entry in self.times],
            "copy_bytes_per_second": self.bandwidth,
            "goals": [goal._asdict() for goal in goals(self.times)],
            "detector": self.detector,
            "networks": self.networks,
            "not_run": self.not_run,
            "failed": self.failed,
        }


def describe_gpu() -> dict[str, Any]:
    """The device, and what its driver says of clocks, temperature and throttling."""
    if not torch.cuda.is_available():
        return {}
    properties = torch.cuda.get_device_properties(0)
    query = "driver_version,clocks.sm,clocks.mem,temperature.gpu,power.draw,clocks_throttle_reasons.active"
    command = ["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader", "--id=0"]
    try:
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        driver = dict(zip(query.split(","), map(str.strip, text.split(",")), strict=False))
    except (OSError, subprocess.CalledProcessError):
        driver = {}
    return {
        "name": properties.name,
        "compute_capability": f"{properties.major}.{properties.minor}",
        "multiprocessors": properties.multi_processor_count,
        "memory_bytes": properties.total_memory,
        "cuda": torch.version.cuda,
        **driver,
    }


def print_tables(suite: Suite) -> None:
    """The failed checks, the times, the goals and, last, what was not run or failed."""
    console = Console()
    failed = [check for check in suite.checks if not check.passed]
    console.print(f"{len(suite.checks) - len(failed)} of {len(suite.checks)} numeric checks passed")
    for check in failed:
        console.print(f"failed: {check.name}: {check.error:.2e}, limit {check.limit:.0e}", style="red")
    table = Table("kernel", "p50 µs", "p99 µs", "bytes at copy speed µs", "peer", "peer µs", "peer / kernel")
    for entry in suite.times:
        floor = entry.counted_bytes / suite.bandwidth * 1e6 if entry.counted_bytes and suite.bandwidth else None
        for number, (peer, timing) in enumerate(entry.peers.items()):
            own = (entry.name, f"{entry.kernel.p50:.1f}", f"{entry.kernel.p99:.1f}", f"{floor:.1f}" if floor else "")
            times = (f"{timing.p50:.1f}", f"{timing.p50 / entry.kernel.p50:.2f}")
            table.add_row(*(own if number == 0 else ("",) * 4), peer, *times)
    if suite.times:
        console.print(table)
    if found := suite.detector:
        console.print(f"PyTorch with the kernels: {found['agree']} of {found['detections']} detections as without them")
        console.print(f"one image takes {found['kernels_us']:.0f} µs with them, {found['eager_us']:.0f} µs without")
    for goal in goals(suite.times):
        console.print(f"{'met' if goal.met else 'MISSED'}: {goal.name}: {goal.found:.2f}, wanted {goal.wanted}")
    for reason in suite.not_run:
        console.print(f"not run: {reason}", style="yellow", markup=False)
    for reason in suite.failed:
        console.print(f"failed: {reason}", style="red", markup=False)


def main(args: Args | None = None) -> int:
    """Run everything; exit code 1 where a check or a part failed, 2 where there is no CUDA device."""
    args = args or tyro.cli(Args)
    if not torch.cuda.is_available():
        print("error: no CUDA device: this suite is about what only a GPU can prove", file=sys.stderr)
        return 2
    args.out.mkdir(parents=True, exist_ok=True)
    suite = Suite(args)
    suite.run("kernels", suite.run_kernels)
    suite.run("PyTorch with the kernels", suite.run_detector)
    suite.run("networks", suite.run_networks)
    with atomic_write(args.out / "gpu_suite.json") as temporary:
        temporary.write_text(json.dumps(suite.to_json(), indent=1) + "\n")
    print_tables(suite)
    return int(bool(suite.failed) or any(not check.passed for check in suite.checks))


if __name__ == "__main__":
    raise SystemExit(main())
