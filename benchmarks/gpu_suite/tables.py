"""The GPU suite's results for a terminal."""

from rich.console import Console

from benchmarks.gpu_suite.report import GpuReport


def print_suite(report: GpuReport) -> None:
    """Print what was not run or failed."""
    console = Console()
    for outcome in report.outcomes:
        if outcome.status != "done":
            style = "red" if outcome.status == "failed" else "yellow"
            line = f"{outcome.status}: {outcome.name}: {outcome.reason}"
            console.print(line, style=style, markup=False, soft_wrap=True)
