"""What whole networks are to reach: goals G1 to G12, every ratio of things that took turns in one run."""

from collections.abc import Callable, Iterator
from functools import partial

import torch

from benchmarks.gpu_suite.accuracy import ContenderAccuracy
from benchmarks.gpu_suite.cases import SEMANTIC, worst
from benchmarks.gpu_suite.contenders import compiled, eager, onnxruntime, torch_compile
from benchmarks.gpu_suite.end_to_end import EndToEndReport
from benchmarks.gpu_suite.goals import Goal, NotMeasuredError
from benchmarks.gpu_suite.kernel_goals import kernel_time
from benchmarks.gpu_suite.network import NetworkTime
from benchmarks.gpu_suite.report import GpuReport
from benchmarks.gpu_suite.subjects import Crowd
from benchmarks.gpu_suite.workload import Workload

OURS, BASELINE = compiled("fp16").name, eager("fp32").name
TORCH_COMPILE = torch_compile("fp16", record=True).name
ONNX_RUNTIME = tuple(onnxruntime(precision).name for precision in ("fp32", "fp16"))
BATCH = 8
NETWORK, PROFILE, END_TO_END, ACCURACY = ("network",), ("profile",), ("end-to-end",), ("accuracy",)
Figure = Callable[[GpuReport], float]


def time_of(report: GpuReport, contender: str, batch: int = 1, crowd: Crowd = "many") -> NetworkTime:
    """What was measured of a contender on RefineMask R50.

    Raises:
        NotMeasuredError: nothing was, or it finds other detections than the reference.
    """
    require_same_detections(report, contender)
    found = report.network.find(contender, batch=batch, crowd=crowd) if report.network else None
    if found is None:
        raise NotMeasuredError(f"{contender} did not run, batch {batch}, {crowd} detections")
    return found


def require_same_detections(report: GpuReport, contender: str) -> None:
    """Raise a NotMeasuredError where a contender finds other detections: how fast it does so is of no interest."""
    if report.network and contender in {time.contender for time in report.network.strangers()}:
        raise NotMeasuredError(f"{contender} finds other detections than {BASELINE}")


def speedup(rivals: tuple[str, ...], report: GpuReport) -> float:
    """The device time of the fastest of the rivals that ran over the compiled engine's, batch 1."""
    ours = time_of(report, OURS)
    times = [t for t in (report.network.times if report.network else ()) if t.contender in rivals]
    for rival in {t.contender for t in times}:
        require_same_detections(report, rival)
    same = [t for t in times if (t.network, t.batch, t.crowd) == (ours.network, ours.batch, ours.crowd)]
    if not same:
        raise NotMeasuredError(f"{' and '.join(rivals)} did not run")
    return min(t.device_ms.median for t in same) / ours.device_ms.median


def product_share(batch: int, report: GpuReport) -> float:
    """The compiled engine's operations per second over those of the card's fp16 product."""
    time = time_of(report, OURS, batch)
    share = report.network.product_share(time) if report.network else None
    if share is None:
        raise NotMeasuredError("the card's fp16 product or the network's operations were not measured")
    return share


def images_per_second(batch: int, report: GpuReport) -> float:
    """Images per second of the compiled engine."""
    return 1000 * batch / time_of(report, OURS, batch).device_ms.median


def other_than_convolution(report: GpuReport) -> float:
    """Share of the compiled engine's time without convolutions and products."""
    require_same_detections(report, OURS)
    if report.profile is None or report.profile.contender != OURS:
        raise NotMeasuredError(f"{OURS} was not profiled")
    return report.profile.other_than_convolution


def end_to_end(report: GpuReport) -> EndToEndReport:
    """The compiled engine from files to run lengths.

    Raises:
        NotMeasuredError: it did not run, or finds other detections than the reference.
    """
    require_same_detections(report, OURS)
    if report.end_to_end is None or report.end_to_end.contender != OURS:
        raise NotMeasuredError(f"{OURS} did not run from files to run lengths")
    return report.end_to_end


def paste_ms(report: GpuReport) -> float:
    """Milliseconds until the host has the strings of a hundred masks."""
    if report.paste is None:
        raise NotMeasuredError("nothing was pasted")
    return report.paste.wall.p50 / 1000


def worst_boxes(report: GpuReport) -> float:
    """The network's time where every box is as large as the image, over that with usual boxes.

    The poolings of the semantic map alone depend on the boxes: what they take longer is added to the network's time.
    """
    usual = time_of(report, OURS).device_ms.median

    def pooling(case: Workload) -> float:
        return kernel_time(report, case).kernel.p50 / 1000

    slower = 0.0
    for case in SEMANTIC:
        here, *large = (
            Workload(each, torch.float16, "channels last") for each in (case, worst(case, "full"), worst(case, "large"))
        )
        slower += max(map(pooling, large)) - pooling(here)
    return (usual + slower) / usual


def few_detections(report: GpuReport) -> float:
    """The compiled engine's time with ten detections over that with a hundred."""
    return time_of(report, OURS, crowd="few").device_ms.median / time_of(report, OURS).device_ms.median


def enqueue_us(report: GpuReport) -> float:
    """Microseconds until the compiled engine's call returns."""
    spread = time_of(report, OURS).enqueue_ms
    if spread is None:
        raise NotMeasuredError("the engine's call waits for the device")
    return spread.median * 1000


def memory_share(report: GpuReport) -> float:
    """The compiled engine's memory over that of eager fp32."""
    ours, baseline = (time_of(report, name).memory_bytes for name in (OURS, BASELINE))
    if ours is None or not baseline:
        raise NotMeasuredError("the device's memory was not measured")
    return ours / baseline


def ap_difference(report: GpuReport) -> float:
    """Largest difference of the compiled engine's mask and box AP from eager fp32, in points of a hundred."""
    contenders = {each.contender: each for each in (report.accuracy.contenders if report.accuracy else ())}
    if OURS not in contenders or BASELINE not in contenders:
        raise NotMeasuredError(f"{OURS} and {BASELINE} did not both run over the images")
    ours, baseline = (list(_scores(contenders[name])) for name in (OURS, BASELINE))
    return max(abs(a - b) for a, b in zip(ours, baseline, strict=True))


def _scores(contender: ContenderAccuracy) -> Iterator[float]:
    for score in (contender.mask_ap, contender.box_ap):
        if score is None:
            raise NotMeasuredError("the detections are not scored")
        yield score


def _unmeasured(what: str, report: GpuReport) -> float:
    raise NotMeasuredError(f"no part runs {what}")


def _speedup(name: str, rivals: tuple[str, ...], least: float) -> Goal:
    return Goal(name=f"{name} / {OURS}, batch 1", figure=partial(speedup, rivals), parts=NETWORK, least=least, unit="×")


NETWORK_GOALS = (
    _speedup(f"G1 {BASELINE}", (BASELINE,), least=6),
    _speedup("G2 eager tf32", (eager("tf32").name,), least=3),
    _speedup("G2 eager fp16", (eager("fp16").name,), least=2),
    _speedup("G2 torch.compile fp16 in a CUDA graph", (TORCH_COMPILE,), least=1.2),
    _speedup("G2 ONNX Runtime CUDA, the faster of fp32 and fp16", ONNX_RUNTIME, least=2.5),
    *(
        Goal(name=f"G2 {rival} / {OURS}, batch 1", figure=partial(_unmeasured, rival), parts=(), least=1.5, unit="×")
        for rival in ("ONNX Runtime's TensorRT provider", "trtexec on the exported graph with stock NMS")
    ),
    *(
        Goal(
            name=f"G3 share of the card's fp16 product, batch {batch}",
            figure=partial(product_share, batch),
            parts=(*NETWORK, "ceilings"),
            least=least,
        )
        for batch, least in ((1, 0.30), (BATCH, 0.50))
    ),
    *(
        Goal(
            name=f"G4 network, batch {batch}",
            figure=partial(images_per_second, batch),
            parts=NETWORK,
            least=least,
            unit="images/s",
        )
        for batch, least in ((1, 220), (BATCH, 370))
    ),
    Goal(name="G5 share without convolutions, batch 1", figure=other_than_convolution, parts=PROFILE, most=0.25),
    Goal(
        name="G6 JPEG to run lengths, pipelined / network alone",
        figure=lambda report: end_to_end(report).pipelined_share,
        parts=END_TO_END,
        least=0.85,
    ),
    Goal(name="G7 paste + run lengths of 100 masks", figure=paste_ms, parts=("paste",), most=0.3, unit="ms"),
    Goal(
        name="G8 host time that nothing hides, share of an image",
        figure=lambda report: max(0.0, 1 - end_to_end(report).pipelined_share),
        parts=END_TO_END,
        most=0.05,
    ),
    Goal(
        name="G9 network with the worst boxes / usual ones",
        figure=worst_boxes,
        parts=(*NETWORK, "kernel-times"),
        most=1.3,
        unit="×",
    ),
    Goal(name="G10 network with 10 / 100 detections", figure=few_detections, parts=NETWORK, most=0.85),
    Goal(name="G11 host time to enqueue an image", figure=enqueue_us, parts=NETWORK, most=50, unit="µs"),
    Goal(name=f"G12 memory, {OURS} / {BASELINE}", figure=memory_share, parts=NETWORK, most=0.5),
    Goal(name="accuracy: |ΔAP| of fp16, points of 100", figure=ap_difference, parts=ACCURACY, most=0.1),
)
