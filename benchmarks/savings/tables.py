"""The savings as tables for a terminal, in Markdown."""

from rich.box import MARKDOWN
from rich.table import Table

from benchmarks.savings.catalogue import SAVINGS
from benchmarks.savings.report import OffOn, SavingReport, SavingsReport


def tables(report: SavingsReport) -> list[Table]:
    """All savings, with where those are measured that a CPU cannot show, and the whole heads."""
    savings = Table(title="Exact savings, each on its own: PyTorch, CPU time of all threads", box=MARKDOWN)
    for heading in ("saving", "exactness", "used", "GFLOP off", "on", "ms off", "on", "difference, or where"):
        savings.add_column(heading, justify="left" if heading in ("saving", "exactness", "used") else "right")
    measured = {each.name: each for each in report.savings}
    for saving in SAVINGS.values():
        figures = _cells(measured[saving.name]) if saving.name in measured else ("", "", "", "", saving.measured)
        savings.add_row(saving.name, saving.exactness, saving.used, *figures)
    heads = Table(title="The whole mask head: all that is used everywhere, off and on", box=MARKDOWN)
    for heading in ("runtime", "ms off", "on", "speed-up", "changed mask pixels"):
        heads.add_column(heading, justify="left" if heading == "runtime" else "right")
    for head in report.heads:
        changed = f"{head.changed_pixels} of {head.pixels}"
        heads.add_row(head.runtime, *_off_on(head.ms), f"{head.speedup.p50:.2f}×", changed)
    return [savings, heads]


def _cells(saving: SavingReport) -> tuple[str, ...]:
    difference = "none" if saving.bit_equal else f"{saving.largest_relative_difference:.0e}"
    return (*_off_on(saving.gflop), *_off_on(saving.ms), difference)


def _off_on(figures: OffOn) -> tuple[str, str]:
    return f"{figures.off:.1f}", f"{figures.on:.1f}"
