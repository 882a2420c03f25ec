"""Reports for pages, with all that a page can show, that nobody measured."""

from dataclasses import replace

import numpy as np

from benchmarks.harness.pipeline import PHASES
from benchmarks.harness.report import (
    Accuracy,
    AccuracyDetail,
    ComparisonReport,
    DetectionCounts,
    EngineReport,
    Estimate,
    OtherReport,
    RoundReport,
)
from benchmarks.harness.summary import Ratio, paired_ratio, percentiles
from tests.support.engine_reports import make_comparison, make_engine

KINDS = ("bbox", "segm", "boundary")
SPEEDS = (1.0, 1.9, 1.66, 3.0, 0.8)
"""How many times faster than the first the engines are, over and over."""


def make_page_report(
    engines: int = 4, rounds: int = 46, classes: int = 12, *, accuracy: bool = True
) -> ComparisonReport:
    """Engines that differ in speed, and a little in accuracy."""
    random = np.random.default_rng(3)
    reports = [_engine(number, rounds, random) for number in range(engines)]
    first = reports[0].samples_ms
    for number, report in enumerate(reports):
        ratios = [_ratio(first[phase], report.samples_ms[phase]) for phase in ("engine", "total")]
        reports[number] = replace(report, speedup=ratios[0], speedup_end_to_end=ratios[1])
    if accuracy:
        reports = [_judged(report, number, classes, random) for number, report in enumerate(reports)]
    return replace(
        make_comparison(reports),
        command="python -m benchmarks.compare 'my model.safetensors' model.onnx --annotations val.json --images val",
        batches=tuple((f"{number:04}.png",) for number in range(rounds)),
        rounds=tuple(RoundReport(number, tuple(range(engines)), 0.01) for number in range(rounds)),
    )


def with_others(report: ComparisonReport) -> ComparisonReport:
    """The report with two detectors that were not run: one of a stated latency, and one of boxes without masks."""
    judged = report.engines[1]
    assert judged.accuracy is not None
    assert judged.detail is not None
    latency = 12.5
    baseline = report.engines[0].latency_ms["engine"].p50
    stated = OtherReport(
        engine="their.json@Theirs:12.5",
        name="Theirs",
        stated_latency_ms=latency,
        stated_fps=1000 / latency,
        stated_speedup=baseline / latency,
        detections_per_image=DetectionCounts(20.0, 1, 50),
        images_without_results=3,
        accuracy=judged.accuracy,
        detail=judged.detail,
    )
    boxes = {name: {"bbox": value["bbox"]} for name, value in vars(judged.detail).items()}
    without_masks = OtherReport(
        engine="boxes.json@Boxes",
        name="Boxes",
        detections_per_image=DetectionCounts(20.0, 1, 50),
        images_without_results=0,
        accuracy={"bbox": judged.accuracy["bbox"]},
        detail=AccuracyDetail(**boxes),
    )
    return replace(report, others=(stated, without_masks))


def _engine(number: int, rounds: int, random: np.random.Generator) -> EngineReport:
    runtime = ("PyTorch", "ONNX Runtime", "OpenVINO", "OpenVINO", "TensorRT")[number % 5]
    precision = ("fp32", "fp32", "fp32", "bf16", "fp16")[number % 5]
    speed = SPEEDS[number % len(SPEEDS)] * (1 + 0.07 * (number // len(SPEEDS)))
    # The same images are slow for all engines.
    work = np.random.default_rng(1).lognormal(5.2, 0.5, rounds)
    shares = dict(zip(PHASES, (1.2, 0.8, 0.2, None, 3.0), strict=True))
    samples = {
        phase: (work / speed if share is None else np.full(rounds, share)) * random.lognormal(0, 0.06, rounds)
        for phase, share in shares.items()
    }
    samples["total"] = np.sum(list(samples.values()), axis=0)
    latency = {phase: percentiles(values.tolist()) for phase, values in samples.items()}
    return make_engine(
        engine=f"model-{number}.onnx@{runtime.split()[0].lower()}:{precision}",
        name=runtime,
        precision=precision,
        fps=1000 / latency["engine"].p50,
        fps_end_to_end=1000 / latency["total"].p50,
        detections_per_image=DetectionCounts(31.4 + number / 10, 2, 101),
        padded_sizes={"384x384": rounds},
        peak_memory_mib=700.0 + 90 * number,
        latency_ms=latency,
        samples_ms={phase: tuple(np.round(values, 4).tolist()) for phase, values in samples.items()},
    )


def _ratio(first: tuple[float, ...], other: tuple[float, ...]) -> Ratio:
    ratio = paired_ratio(first, other)
    return replace(ratio, low=0.96 * ratio.p50, high=1.05 * ratio.p50) if len(first) >= 6 else ratio


def _judged(report: EngineReport, number: int, classes: int, random: np.random.Generator) -> EngineReport:
    accuracy: Accuracy = {}
    detail = AccuracyDetail(ap={}, change={}, per_class={}, precision_recall={})
    drop = (0.0, 0.0002, 0.0001, 0.006, 0.021)[number % 5]
    for place, kind in enumerate(KINDS):
        ap = 0.52 + 0.02 * place - drop
        figures = {"AP": ap, "AP50": ap + 0.31, "AP75": ap + 0.02, "APs": ap - 0.1, "APm": ap + 3 * drop, "APl": -1.0}
        accuracy[kind] = figures
        detail.ap[kind] = Estimate(ap, ap - 0.021, ap + 0.019)
        if number:
            detail.change[kind] = Estimate(-drop, -drop - 0.004, -drop + 0.003)
        values = np.random.default_rng(7).uniform(0.2, 0.8, classes) - drop * random.normal(1, 2, classes)
        detail.per_class[kind] = {f"class {one}": float(value) for one, value in enumerate(values)}
        detail.per_class[kind]["class without objects"] = -1.0
        recall = np.linspace(0, 1, 101)
        detail.precision_recall[kind] = {
            name: tuple(np.clip(1 - recall ** (8 * ap * scale) - drop, 0, 1).round(4).tolist())
            for name, scale in (("AP50", 1.6), ("AP75", 1.0), ("AP", 0.8))
        }
    return replace(report, accuracy=accuracy, detail=detail)
