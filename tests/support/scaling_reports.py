"""A report of scaling that nobody measured, with a cost that is known."""

from collections.abc import Callable
from pathlib import Path

from benchmarks.harness.provenance import provenance
from benchmarks.harness.summary import percentiles
from benchmarks.scaling.plan import Plan, series
from benchmarks.scaling.report import Inputs, Point, ScalingReport, Setting, SettingReport

ENGINES = ("nuclei.safetensors", "nuclei.onnx", "nuclei.onnx@openvino:fp32")
NOISE = (0.99, 0.995, 1.0, 1.0, 1.0, 1.005, 1.02)
"""Factors of the latencies of the rounds; their median is one."""


def law(setting: Setting, factor: float = 1.0) -> float:
    """Milliseconds of a batch: 40 and one per detection, by pixels, batch ** 0.8 and threads ** -0.5."""
    pixels = setting.size[0] * setting.size[1] / (384 * 384)
    found = 40 if setting.detections is None else setting.detections
    return factor * (40 + found) * pixels * setting.batch**0.8 / setting.threads**0.5


def make_point(engine: str, setting: Setting, milliseconds: float) -> Point:
    """An engine whose latencies have this median."""
    samples = {"engine": tuple(milliseconds * noise for noise in NOISE)}
    samples["total"] = tuple(value + 5 for value in samples["engine"])
    latency = {phase: percentiles(values) for phase, values in samples.items()}
    return Point(
        engine=engine,
        detections=(float(40 if setting.detections is None else setting.detections),) * len(NOISE),
        images_per_second=1000 * setting.batch / latency["total"].p50,
        peak_memory_mib=200.0 + 10 * setting.batch,
        latency_ms=latency,
        samples_ms=samples,
    )


def make_scaling(cost: Callable[[Setting, float], float] = law) -> ScalingReport:
    """Three engines: the second takes half of the first's time, the third a third of it, and no batch of 4."""
    plan = Plan(engines=ENGINES, images=(Path("images"),), threads=(2, 1))
    varied = series(plan, (384, 384))
    reports = []
    for setting in dict.fromkeys(each for settings in varied.values() for each in settings):
        able = ENGINES[: 2 if setting.batch == 4 else 3]
        reports.append(
            SettingReport(
                setting=setting,
                foreign_load=0.01,
                points=tuple(make_point(engine, setting, cost(setting, 1 / (n + 1))) for n, engine in enumerate(able)),
                not_possible={engine: "batch is 4; the file takes 1 to 2" for engine in ENGINES[len(able) :]},
            )
        )
    inputs = Inputs(engines=ENGINES, sha256=("0",) * 3, images=("a.png",), device="cpu", rounds=len(NOISE))
    return ScalingReport(provenance=provenance(), inputs=inputs, series=varied, settings=tuple(reports))
