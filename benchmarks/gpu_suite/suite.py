"""The parts of the GPU suite, one after the other, within the time that was given."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
from rich.progress import track

from benchmarks.gpu_suite import detector, kernel_times, network, numerics
from benchmarks.gpu_suite.cases import MERGE_CASES, NMS_CASES, ROI_ALIGN_CASES
from benchmarks.gpu_suite.detector import DetectorReport
from benchmarks.gpu_suite.device import describe_gpu
from benchmarks.gpu_suite.goals import GOALS, judge
from benchmarks.gpu_suite.kernel_times import KernelTime, Timed
from benchmarks.gpu_suite.network import NetworkReport, NotRunError
from benchmarks.gpu_suite.numerics import Check
from benchmarks.gpu_suite.report import GpuReport, TimeReport
from benchmarks.gpu_suite.timing import CudaTimer, Timer, copy_bandwidth
from benchmarks.gpu_suite.workload import TimingPart, Workload
from benchmarks.harness.provenance import provenance
from refinemask.bundled import DEMO
from refinemask.files import UserError
from refinemask.modeling.exported import Precision
from refinemask.spelling import Output
from refinemask.weights import load_detector
from trt_plugins import kernels_path
from trt_plugins.c_api import Kernels
from trt_plugins.torch_ops import TorchKernels

COMPARISON_SECONDS = 90
"""Seconds kept back from making engines, so that those that were made are measured, too."""
KERNELS = "kernels"
"""Part of the suite that has all about the kernels."""
Part = str | TimingPart


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Check and time the kernels, and run the detector through every engine that is installed here."""

    output: Output
    """Directory for the JSON files and for all that is built on the way."""
    model: Path = DEMO / "weights" / "refinemask-nuclei.safetensors"
    """Checkpoint for the part on whole networks."""
    minutes: float = 8
    """Minutes that the suite may take; what does not fit is left out and listed."""
    limit: int = 24
    """Images for the part on whole networks."""


@dataclass
class Suite:
    """The parts, their results so far and the time that is left."""

    plan: Plan
    device: str = "cuda"
    timer: Timer = field(default_factory=CudaTimer)
    checks: list[Check] = field(default_factory=list)
    times: dict[Workload, KernelTime] = field(default_factory=dict)
    bandwidth: float | None = None
    detector: DetectorReport | None = None
    networks: NetworkReport | None = None
    not_run: dict[Part, str] = field(default_factory=dict)
    failed: dict[Part, str] = field(default_factory=dict)
    start: float = field(default_factory=time.monotonic)

    def left(self) -> float:
        """Seconds until the time is over."""
        return self.plan.minutes * 60 - (time.monotonic() - self.start)

    def run_all(self) -> GpuReport:
        """Run every part, the kernels first: nothing else needs a GPU and nothing but a GPU."""
        self.run(KERNELS, self.run_kernels)
        self.run("PyTorch with the kernels", self.run_detector)
        self.run("networks", self.run_networks)
        return self.report()

    def run(self, part: Part, action: Callable[[], None]) -> None:
        """Run a part unless time is up; what it lacks or what breaks it is noted, and the suite goes on."""
        if self.left() <= 0:
            self.not_run[part] = f"the {self.plan.minutes:g} minutes were over"
            return
        print(f"{part} ({self.left():.0f} s left)", flush=True)
        try:
            action()
        except (NotRunError, UserError, FileNotFoundError) as error:
            self.not_run[part] = str(error)
        except Exception as error:
            # A part that breaks must not take the results of the others with it.
            self.failed[part] = f"{type(error).__name__}: {error}"

    def run_kernels(self) -> None:
        """Check the kernels and time them."""
        kernels, device, timer = TorchKernels(Kernels(kernels_path())), self.device, self.timer
        self.run("numerics", lambda: self._check(kernels))
        self.run("copy bandwidth", self._copy)
        for dtype in (torch.float16, torch.float32):
            timed = kernel_times.time_roi_align(kernels, timer, device, dtype, ROI_ALIGN_CASES)
            self.run(TimingPart("RoIAlign", dtype), partial(self._time, timed))
        self.run(TimingPart("NMS"), lambda: self._time(kernel_times.time_nms(kernels, timer, device, NMS_CASES)))
        self.run(TimingPart("merge"), lambda: self._time(kernel_times.time_merge(kernels, timer, device, MERGE_CASES)))

    def run_detector(self) -> None:
        """PyTorch with the kernels, and with the eager operators."""
        images = sorted(network.IMAGES.iterdir())[: self.plan.limit]
        model = load_detector(self.plan.model, device=self.device)
        kernels = Kernels(kernels_path())
        self.detector = detector.compare_operators(model, images, kernels, self.timer, self.device)

    def run_networks(self) -> None:
        """Export, build and compare; each engine that cannot be made is listed."""
        engines = [self.plan.model]
        for precision in network.precisions():
            self.run(f"export and engines, {precision}", partial(self._make_engines, precision, engines))
        self.run("comparison of engines", partial(self._compare, engines))

    def report(self) -> GpuReport:
        """The results so far with their provenance."""
        return GpuReport(
            provenance=provenance([self.plan.model] if self.plan.model.is_file() else []),
            gpu=describe_gpu(),
            seconds=round(time.monotonic() - self.start, 1),
            checks=tuple(self.checks),
            times=tuple(TimeReport(str(workload), entry) for workload, entry in self.times.items()),
            copy_bytes_per_second=self.bandwidth,
            goals=judge(GOALS, self.times, self._why_untimed),
            detector=self.detector,
            networks=self.networks,
            not_run={str(part): reason for part, reason in self.not_run.items()},
            failed={str(part): error for part, error in self.failed.items()},
        )

    def _make_engines(self, precision: Precision, engines: list[Path]) -> None:
        onnx = network.export_file(self.plan.model, self.plan.output, precision, self._left_for_engines())
        if precision == "fp32" and network.has_onnxruntime_cuda():
            engines.append(onnx)
        elif precision == "fp32":
            self.not_run["ONNX Runtime CUDA"] = "its CUDA provider is not installed"
        engines.append(network.build_engine(onnx, precision, self._left_for_engines()))

    def _left_for_engines(self) -> float:
        return max(self.left() - COMPARISON_SECONDS, 1)

    def _compare(self, engines: list[Path]) -> None:
        self.networks = network.measure_engines(engines, self.plan.output / "networks.json", self.plan.limit)

    def _check(self, kernels: TorchKernels) -> None:
        for check in track(numerics.check_kernels(kernels, self.device), "checking kernels", transient=True):
            self.checks.append(check)

    def _copy(self) -> None:
        self.bandwidth = copy_bandwidth(self.timer, self.device)

    def _time(self, timed: Iterable[Timed]) -> None:
        # One by one, so that what was timed before an error is kept.
        for workload, entry in timed:
            self.times[workload] = entry

    def _why_untimed(self, workload: Workload) -> str:
        reasons = self.not_run | self.failed
        return reasons.get(workload.part) or reasons.get(KERNELS) or "it was not timed"
