"""A report of the GPU suite as a GPU would fill it."""

from dataclasses import replace

from benchmarks.gpu_suite import kernel_times
from benchmarks.gpu_suite.accuracy import AccuracyReport, ContenderAccuracy
from benchmarks.gpu_suite.agreement import Agreement
from benchmarks.gpu_suite.cases import (
    BOX_HEAD,
    MASK_HEAD,
    NMS_CASES,
    PROPOSALS_CASES,
    SEMANTIC,
    TOP_K_CASES,
    Layout,
    RoIAlignCase,
    worst,
)
from benchmarks.gpu_suite.ceilings import CeilingsReport
from benchmarks.gpu_suite.context import Outcome
from benchmarks.gpu_suite.end_to_end import EndToEndReport
from benchmarks.gpu_suite.kernel_checks import NumericsReport
from benchmarks.gpu_suite.kernel_times import KernelTime
from benchmarks.gpu_suite.kernel_times_report import KernelTimesReport, NMSTime, ProposalsTime, RoIAlignTime, TopKTime
from benchmarks.gpu_suite.network import NetworkReport, NetworkTime
from benchmarks.gpu_suite.numerics import Check
from benchmarks.gpu_suite.paste import PasteReport
from benchmarks.gpu_suite.profile import KernelShare, ProfileReport
from benchmarks.gpu_suite.report import GpuReport
from benchmarks.gpu_suite.rounds import Spread
from benchmarks.gpu_suite.sanitizer import SanitizerReport, SanitizerRun
from benchmarks.gpu_suite.subjects import Crowd
from benchmarks.gpu_suite.timing import Timing
from benchmarks.harness.provenance import Cpu, Provenance

PROVENANCE = Provenance(
    date="2026-01-01T00:00:00+00:00", revision="abc", python="3.12.3", versions={}, system="Linux x86_64",
    cpu=Cpu(model="CPU", cores=16, features=()), files={},
)  # fmt: skip
CEILINGS = CeilingsReport(gpu=None, copy_bytes_per_second=3e12, fp32_flops=50e12, tf32_flops=400e12, fp16_flops=800e12)
LAYOUTS: tuple[Layout, ...] = ("planar", "channels last")


def spread(milliseconds: float) -> Spread:
    return Spread.of([milliseconds])


def timing(microseconds: float) -> Timing:
    return Timing.of([microseconds], True)


def kernel_time(microseconds: float, **rivals: float) -> KernelTime:
    """A time beside rivals, which are called by their names in ``kernel_times``."""
    timings = {getattr(kernel_times, name): timing(value) for name, value in rivals.items()}
    return KernelTime(timing(microseconds), timings, 1000)


def network_time(
    contender: str, milliseconds: float, *, batch: int = 1, crowd: Crowd = "many", enqueue: float | None = None
) -> NetworkTime:
    return NetworkTime(
        network="refinemask",
        contender=contender,
        batch=batch,
        crowd=crowd,
        detections=100.0 if crowd == "many" else 10.0,
        device_ms=spread(milliseconds),
        wall_ms=spread(milliseconds + 0.1),
        enqueue_ms=None if enqueue is None else spread(enqueue),
        memory_bytes=2**30 if contender.startswith("compiled") else 2**31,
        agreement=Agreement(expected=100, found=100, matched=0.99, different_cells=0.001),
    )


NETWORK = NetworkReport(
    times=(
        network_time("eager fp32", 26),
        network_time("eager tf32", 11),
        network_time("eager fp16", 9),
        network_time("torch.compile fp16", 6),
        network_time("torch.compile fp16, CUDA graph", 5),
        network_time("compiled fp16", 4, enqueue=0.03),
        network_time("compiled fp16", 3.2, crowd="few"),
        network_time("compiled fp16", 20, batch=8),
    ),
    operations={"refinemask": 10**12},
    fp16_rate=800e12,
)


def roi_align_time(case: RoIAlignCase, layout: Layout, microseconds: float) -> RoIAlignTime:
    return RoIAlignTime(case, "float16", layout, kernel_time(microseconds, PER_LEVEL=100))


KERNEL_TIMES = KernelTimesReport(
    roi_align=(
        *(roi_align_time(case, layout, 40) for case in (BOX_HEAD, MASK_HEAD) for layout in LAYOUTS),
        *(roi_align_time(case, "channels last", 40) for case in SEMANTIC),
        *(roi_align_time(worst(case, "full"), "channels last", 100) for case in SEMANTIC),
        *(roi_align_time(worst(case, "large"), "channels last", 240) for case in SEMANTIC),
    ),
    nms=tuple(NMSTime(case, kernel_time(30, TORCHVISION=20, FIXPOINT=200)) for case in NMS_CASES),
    top_k=tuple(TopKTime(case, kernel_time(20, TORCH=50)) for case in TOP_K_CASES),
    proposals=tuple(
        ProposalsTime(case, "float16", "channels last", kernel_time(40, CHAIN=250)) for case in PROPOSALS_CASES
    ),
)


def full_report() -> GpuReport:
    """A report with something of every kind."""
    return GpuReport(
        provenance=PROVENANCE,
        device="cuda",
        tiny=False,
        seconds=300,
        outcomes=(Outcome(name="numerics", status="failed", seconds=1, reason="1 of 2 checks passed"),),
        numerics=NumericsReport(checks=(Check("good", 0, 1), Check("bad", 2, 1))),
        sanitizer=SanitizerReport(
            runs=(
                SanitizerRun(name="plain", passed=True, seconds=1, output=("ok",)),
                SanitizerRun(name="memcheck", passed=False, seconds=9, output=("Invalid write", "exit code 3")),
            )
        ),
        ceilings=CEILINGS,
        network=NETWORK,
        profile=ProfileReport(
            contender="compiled fp16",
            elapsed_us=4000,
            kernels_us=4000,
            launches=300,
            us={"convolution": 3200, "ours": 800},
            top=(KernelShare(name="conv", kind="convolution", us=3200, launches=110),),
        ),
        paste=PasteReport(
            masks=100, height=800, width=1333, compared=500, identical=500, string_bytes=30000, device=timing(40),
            wall=timing(250), host=timing(9000),
        ),
        end_to_end=EndToEndReport(
            contender="compiled fp16", images=240, detections=20, phases_ms={}, serial_fps=60, pipelined_fps=180,
            network_fps=200, decoders=8, slots=3,
        ),
        accuracy=AccuracyReport(
            images=24,
            contenders=(
                ContenderAccuracy(contender="eager fp32", file="a.json", mask_ap=40.0, box_ap=50.0),
                ContenderAccuracy(contender="compiled fp16", file="b.json", mask_ap=40.05, box_ap=49.8),
            ),
        ),
        kernel_times=KERNEL_TIMES,
    )  # fmt: skip


def without(report: GpuReport, contender: str) -> GpuReport:
    """The report where a contender did not run."""
    assert report.network is not None
    times = tuple(time for time in report.network.times if time.contender != contender)
    return replace(report, network=replace(report.network, times=times))
