"""The efficiency report as a figure: frames per second against AP, one curve per engine."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter, LogLocator

from benchmarks.efficiency.models import MODELS
from benchmarks.efficiency.report import EfficiencyReport
from refinemask.files import UserError, atomic_write

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Colours of Okabe and Ito, which the colour-blind can tell apart."""
MARKERS = "osD^vP"
GREY, FAINT = "#666666", "#DDDDDD"
HIGHLIGHT = MODELS[-1].name
LABEL_HEIGHT = 13
"""Height of a label's line, in points."""


def written(output: Path) -> tuple[Path, Path, Path]:
    """The files that are written: the report, ``output``, and the figure beside it as .png and .svg.

    Raises:
        UserError: the figure would take the place of the report.
    """
    if output.suffix in (".png", ".svg"):
        raise UserError(f"{output}: the figure takes this name; name the report with another suffix, such as .json")
    return output, output.with_suffix(".png"), output.with_suffix(".svg")


def draw(report: EfficiencyReport, output: Path) -> list[Path]:
    """Write the figure beside ``output`` as .png and .svg, and return both paths."""
    return save(plot(report), output, "efficiency")


def save(figure: Figure, output: Path, name: str) -> list[Path]:
    """Write a figure beside ``output`` as .png and .svg, and return both paths; ``name`` tells its SVG from others."""
    _, png, svg = written(output)
    with atomic_write(png) as temporary:
        figure.savefig(temporary, dpi=200)
    # The same report gives the same file.
    with atomic_write(svg) as temporary, rc_context({"svg.hashsalt": name}):
        figure.savefig(temporary, metadata={"Date": None})
    return [png, svg]


def plot(report: EfficiencyReport) -> Figure:
    """Each model has a height, its AP: as measured, or as published where the weights are random."""
    figure = Figure(figsize=(8, 4.6), layout="constrained")
    axes = figure.add_subplot()
    names = [model.name for model in report.models]
    published = [model.published for model in report.models]
    heights = [each.ap for each in published]
    curves = [_curve(axes, [each.fps for each in published], heights, GREY, "o", "published, GPU", hollow=True)]
    for backend, colour, marker in zip(report.backends, COLOURS, MARKERS, strict=False):
        engines = backend.engines
        measured = [100 * engine.accuracy["segm"]["AP"] for engine in engines if engine.accuracy is not None]
        heights = measured or heights
        label = f"{engines[0].name} {engines[0].precision}"
        curves.append(_curve(axes, [engine.fps for engine in engines], heights, colour, marker, label))
    _style(axes, report)
    _label_models(axes, names, heights)
    _spread(figure, curves)
    lines = -min(label.get_position()[1] for label in curves) / LABEL_HEIGHT
    low, high = axes.get_ylim()
    axes.set_ylim(low - 0.05 * lines * (high - low), high)
    return figure


def _curve(
    axes: Axes, fps: Sequence[float], ap: Sequence[float], colour: str, marker: str, label: str, hollow: bool = False
) -> Text:
    """One engine's models, joined from the least to the most accurate; its label, below the first of them."""
    points = sorted(zip(ap, fps, strict=True))
    heights, speeds = zip(*points, strict=True)
    face = "white" if hollow else colour
    axes.plot(speeds, heights, color=colour, linewidth=1, alpha=0.5, linestyle=":" if hollow else "-", zorder=2)
    axes.plot(
        speeds, heights, linestyle="none", marker=marker, markersize=7, color=colour, markerfacecolor=face, zorder=3
    )
    return axes.annotate(
        label, (speeds[0], heights[0]), (0, -LABEL_HEIGHT), textcoords="offset points", ha="center", va="center",
        fontsize=9, color=colour,
    )  # fmt: skip


def _style(axes: Axes, report: EfficiencyReport) -> None:
    settings, random = report.inputs.settings, report.inputs.weights == "random"
    assert settings.canvas is not None
    height, width = settings.canvas
    machine = report.device.replace("(R)", "")
    if settings.device == "cpu":
        machine += f", {settings.threads} threads"
    detections = "100 detections per image" if random else "trained weights"
    axes.set_title(f"R50, {height}×{width}, {detections} · {machine}", fontsize=10, color=GREY)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.minorticks_off()
    axes.set_xlabel("images per second, network alone (log scale)")
    axes.set_ylabel("mask AP, published (the weights here are random)" if random else "mask AP, measured")
    axes.grid(axis="x", color=FAINT, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.1, y=0.1)


def _label_models(axes: Axes, names: Sequence[str], heights: Sequence[float]) -> None:
    """Each model's name at its height, right of the axes, and a faint line there."""
    low, high = axes.get_ylim()
    place, step = -float("inf"), 0.055 * (high - low)
    for height, name in sorted(zip(heights, names, strict=True)):
        axes.axhline(height, color=FAINT, linewidth=0.6, zorder=1)
        place = max(height, place + step)
        axes.annotate(
            name, (1.01, place), xycoords=("axes fraction", "data"), va="center", fontsize=10, annotation_clip=False,
            fontweight="bold" if name == HIGHLIGHT else "normal",
        )  # fmt: skip


def _spread(figure: Figure, labels: Sequence[Any]) -> None:
    """Move labels down until none covers another."""
    figure.draw_without_rendering()
    placed: list[Any] = []
    for label in sorted(labels, key=lambda text: text.xy[0]):
        while any(label.get_window_extent().padded(2).overlaps(other) for other in placed):
            x, y = label.get_position()
            label.set_position((x, y - LABEL_HEIGHT))
        placed.append(label.get_window_extent())
