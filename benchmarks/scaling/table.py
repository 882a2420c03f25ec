"""The report as tables for a terminal: each series, how the cost grows, and the best setting under a bound."""

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from benchmarks.harness.report import Estimate
from benchmarks.scaling.best import Best, judged
from benchmarks.scaling.report import Growth, Point, ScalingReport, Setting

AXES = {"detections": "detections", "size": "image size", "batch": "batch", "threads": "threads"}
UNITS = {"size": "pixels", "batch": "images", "threads": "threads"}


def tables(report: ScalingReport) -> list[Table]:
    """A table for each axis, and one of the growth along all of them."""
    shown = [_axis_table(report, axis) for axis in AXES if axis in report.series]
    if not shown:
        shown = [_axis_table(report, "base")]
    return [*shown, _growth_table(report.growth)] if report.growth else shown


def _axis_table(report: ScalingReport, axis: str) -> Table:
    [base] = report.series["base"]
    table = Table(title=f"{AXES.get(axis, 'one setting').capitalize()} (else {base}), latency of a batch in ms")
    for heading in ("engine", AXES.get(axis, "setting")):
        table.add_column(heading)
    for heading in ("engine p50", "p90", "p99", "total p50", "p90", "p99", "images/s", "peak MiB", "GPU MiB", "found"):
        table.add_column(heading, justify="right")
    reports, reasons = {each.setting: each for each in report.settings}, []
    for engine in report.inputs.engines:
        for setting in report.series[axis]:
            measured = reports[setting]
            point = next((each for each in measured.points if each.engine == engine), None)
            if point is None:
                reasons.append(f"{engine}, {value(axis, setting)}: not possible: {measured.not_possible[engine]}")
            cells = ["not possible"] if point is None else _cells(point)
            table.add_row(engine, value(axis, setting), *cells, end_section=setting == report.series[axis][-1])
    table.caption = Text("\n".join(reasons), justify="left") if reasons else None
    return table


def _cells(point: Point) -> list[str]:
    latencies = [point.latency_ms[phase] for phase in ("engine", "total")]
    found = min(point.detections), max(point.detections)
    return [
        *(f"{figure:.1f}" for latency in latencies for figure in (latency.p50, latency.p90, latency.p99)),
        f"{point.images_per_second:.2f}",
        "unknown" if point.peak_memory_mib is None else f"{point.peak_memory_mib:.0f}",
        "–" if point.device_memory_mib is None else f"{point.device_memory_mib:.0f}",
        f"{found[0]:.0f}" if found[0] == found[1] else f"{found[0]:.0f}–{found[1]:.0f}",
    ]


def value(axis: str, setting: Setting) -> str:
    """Where a setting lies along an axis."""
    if axis == "base":
        return str(setting)
    return f"{setting.size[0]}x{setting.size[1]}" if axis == "size" else str(getattr(setting, axis))


def _growth_table(growth: Sequence[Growth]) -> Table:
    table = Table(title="How latency grows, with the 95 % interval of the rounds' noise")
    for heading in ("engine", "phase", "over", "latency"):
        table.add_column(heading)
    table.add_column("misfit", justify="right")
    for each in growth:
        table.add_row(each.engine, each.phase, AXES[each.axis], law(each), f"{each.misfit:.0%}")
    return table


def law(growth: Growth) -> str:
    """The fitted line or power, such as ``12.1 [11.9, 12.4] ms + 0.31 [0.28, 0.33] ms × detections``."""
    if growth.fixed_ms is not None:
        return f"{_interval(growth.fixed_ms)} ms + {_interval(growth.slope)} ms × detections"
    return f"{UNITS[growth.axis]} ^ {_interval(growth.slope)}"


def _interval(estimate: Estimate) -> str:
    return f"{estimate.value:.3g} [{estimate.low:.3g}, {estimate.high:.3g}]"


def best_lines(best: Sequence[Best], bound_ms: float) -> list[str]:
    """The best setting of each size in a line."""
    lines = []
    for each in best:
        name, latency = judged(each.point.latency_ms["total"])
        samples = each.point.latency_ms["total"].n
        lines.append(
            f"under {bound_ms:g} ms at {each.setting.size[0]}x{each.setting.size[1]}: {each.point.engine}, batch "
            f"{each.setting.batch}, {each.setting.threads} threads: {each.point.images_per_second:.2f} images/s, "
            f"{name} of {samples} samples {latency:.1f} ms"
        )
    return lines
