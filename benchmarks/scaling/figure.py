"""The report as a figure: latency, throughput and memory down, what varies across, a curve for each engine."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

from benchmarks.efficiency.figure import COLOURS, FAINT, GREY, MARKERS, save
from benchmarks.scaling.report import Growth, Point, ScalingReport, Setting
from benchmarks.scaling.table import AXES, value

ROWS = ("latency of a batch,\nnetwork alone [ms]", "images per second,\nend to end", "peak memory [MiB]")
POWERS = ("size", "batch", "threads")
"""Axes along which latency is fitted by a power, and both are drawn as logarithms."""


def draw(report: ScalingReport, output: Path) -> list[Path]:
    """Write the figure beside ``output`` as .png and .svg, and return both paths."""
    return save(plot(report), output, "scaling")


def plot(report: ScalingReport) -> Figure:
    """A column for each axis of several values: the latency's median to 90th percentile, throughput and memory."""
    axes = [axis for axis in AXES if axis in report.series] or ["base"]
    figure = Figure(figsize=(1.2 + 3.2 * len(axes), 8.4), layout="constrained")
    grid = figure.subplots(len(ROWS), len(axes), squeeze=False)
    for column, axis in enumerate(axes):
        for number, engine in enumerate(report.inputs.engines):
            points = report.of(report.series[axis], engine)
            if points:
                _curves(grid[:, column], axis, points, number, engine)
                _law(grid[0, column], axis, points, report, number)
        _style(grid[:, column], axis, report)
    for row, label in enumerate(ROWS):
        grid[row, 0].set_ylabel(label)
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=2, frameon=False, fontsize=9)
    [base] = report.series["base"]
    machine = report.provenance.cpu.model.replace("(R)", "") if report.inputs.device == "cpu" else report.inputs.device
    figure.supxlabel(f"what does not vary: {base} · {machine}", fontsize=9, color=GREY)
    return figure


def _places(axis: str, points: list[tuple[Setting, Point]]) -> list[float]:
    if axis == "detections":
        return [float(np.mean(point.detections)) for _, point in points]
    return [setting.along(axis) if axis in POWERS else 1 for setting, _ in points]


def _curves(axes: np.ndarray, axis: str, points: list[tuple[Setting, Point]], number: int, engine: str) -> None:
    places = np.array(_places(axis, points))
    order = np.argsort(places, kind="stable")
    style = {"color": COLOURS[number % len(COLOURS)], "marker": MARKERS[number % len(MARKERS)], "markersize": 5}
    latencies = [point.latency_ms["engine"] for _, point in points]
    medians = np.array([latency.p50 for latency in latencies])
    above = np.array([latency.p90 for latency in latencies]) - medians
    axes[0].errorbar(
        places[order], medians[order], [np.zeros(len(order)), above[order]], linestyle="none", label=engine, **style
    )
    axes[1].plot(places[order], np.array([point.images_per_second for _, point in points])[order], **style)
    memory = [_memory(point) for _, point in points]
    axes[2].plot(places[order], np.array([np.nan if each is None else each for each in memory])[order], **style)


def _memory(point: Point) -> float | None:
    return point.peak_memory_mib if point.device_memory_mib is None else point.device_memory_mib


def _law(axes: Axes, axis: str, points: list[tuple[Setting, Point]], report: ScalingReport, number: int) -> None:
    """The fitted line, through the medians' mean, which least squares meets."""
    engine, places = points[0][1].engine, np.array(_places(axis, points))
    growth = [each for each in report.growth if (each.axis, each.engine, each.phase) == (axis, engine, "engine")]
    if not growth:
        return
    [law] = growth
    along = np.linspace(places.min(), places.max(), 50)
    axes.plot(along, _fitted(law, places, points, along), color=COLOURS[number % len(COLOURS)], linewidth=1, alpha=0.6)


def _fitted(law: Growth, places: np.ndarray, points: list[tuple[Setting, Point]], along: np.ndarray) -> np.ndarray:
    if law.fixed_ms is not None:
        return law.fixed_ms.value + law.slope.value * along
    medians = np.array([point.latency_ms["engine"].p50 for _, point in points])
    return np.exp(np.log(medians).mean() + law.slope.value * (np.log(along) - np.log(places).mean()))


def _style(axes: np.ndarray, axis: str, report: ScalingReport) -> None:
    settings = report.series[axis]
    for each in axes:
        each.grid(color=FAINT, linewidth=0.6)
        each.spines[["top", "right"]].set_visible(False)
        if axis in POWERS:
            each.set_xscale("log")
            ticks = {setting.along(axis): value(axis, setting) for setting in settings}
            each.xaxis.set_major_locator(FixedLocator(list(ticks)))
            each.xaxis.set_minor_locator(NullLocator())
            each.set_xticks(list(ticks), list(ticks.values()), fontsize=8)
    if axis in POWERS:
        axes[0].set_yscale("log")
        axes[0].yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes[0].yaxis.set_major_formatter(FuncFormatter(lambda tick, _: f"{tick:g}"))
        axes[0].yaxis.set_minor_locator(NullLocator())
    else:
        axes[0].set_ylim(bottom=0)
    for each in axes[1:]:
        each.set_ylim(0, 1.05 * each.get_ylim()[1])
    axes[-1].set_xlabel(
        {"detections": "detections found in an image", "size": "padded size, by pixels"}.get(axis, axis)
    )
