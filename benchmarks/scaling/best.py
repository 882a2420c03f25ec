"""The setting with the highest throughput whose latency stays below a bound."""

from dataclasses import dataclass

from benchmarks.harness.summary import Percentiles
from benchmarks.scaling.report import Point, ScalingReport, Setting

ENOUGH_FOR_P99 = 100
"""Samples from which a 99th percentile is more than the largest of them."""


@dataclass(frozen=True)
class Best:
    """An engine and a setting that keep the bound."""

    setting: Setting
    point: Point


def best_settings(report: ScalingReport, bound_ms: float) -> list[Best]:
    """The best of each image size, whose choice changes what is found; sizes where none keeps the bound are left out.

    Judged is the latency from files to results on whole images, by :func:`judged`.
    """
    best: dict[tuple[int, int], Best] = {}
    for each in report.settings:
        for point in each.points if each.setting.detections is None else ():
            leader = best.get(each.setting.size)
            if judged(point.latency_ms["total"])[1] > bound_ms:
                continue
            if leader is None or point.images_per_second > leader.point.images_per_second:
                best[each.setting.size] = Best(each.setting, point)
    return [best[size] for size in sorted(best, reverse=True)]


def judged(latency: Percentiles) -> tuple[str, float]:
    """The percentile that is held against a bound, and its name: p90 where there are too few samples for p99."""
    name = "p99" if latency.n >= ENOUGH_FOR_P99 else "p90"
    return name, float(getattr(latency, name))
