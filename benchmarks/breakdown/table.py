"""A breakdown as a table for a terminal."""

from collections.abc import Sequence

from rich.table import Table

from benchmarks.breakdown.parts import PARTS
from benchmarks.breakdown.report import BreakdownReport, PartReport


def table(report: BreakdownReport) -> Table:
    """Parts down, engines across; eager PyTorch may count less than a graph, which computes padding too."""
    table = Table(title="Median milliseconds of each part, its share, and the GFLOP/s it reaches")
    table.add_column("part")
    table.add_column("GFLOP", justify="right")
    for engine in report.engines:
        name = engine.name.replace(" ", "\n")
        for heading in (f"{name}\n{engine.precision} ms", "%", "GFLOP/s"):
            table.add_column(heading, justify="right")
    for part in PARTS:
        rows = [engine.parts.get(part) for engine in report.engines]
        if any(rows):
            table.add_row(part, *_cells(rows))
    table.add_section()
    table.add_row("all", *_cells([engine.all for engine in report.engines]))
    return table


def _cells(rows: Sequence[PartReport | None]) -> list[str]:
    cells = [_number(max(row.gflop for row in rows if row))]
    for row in rows:
        figures = (row.ms, 100 * row.share, row.gflop_per_s) if row else (0, 0, 0)
        cells += map(_number, figures)
    return cells


def _number(value: float) -> str:
    return f"{value:.1f}" if value else ""
