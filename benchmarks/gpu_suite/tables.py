"""The GPU suite's results for a terminal."""

from rich.console import Console
from rich.table import Table

from benchmarks.gpu_suite.goals import GoalReport
from benchmarks.gpu_suite.report import GpuReport


def print_suite(report: GpuReport) -> None:
    """Print the failed checks, the times, the goals and, last, what was not run or failed."""
    console = Console()
    failed = report.failed_checks
    console.print(f"{len(report.checks) - len(failed)} of {len(report.checks)} numeric checks passed")
    for check in failed:
        console.print(f"failed: {check.name}: {check.error:.2e}, limit {check.limit:.0e}", style="red")
    if report.times:
        console.print(_times(report))
    if detector := report.detector:
        console.print(f"PyTorch with the kernels: {detector.agree} of {detector.detections} detections as without them")
        console.print(f"one image takes {detector.kernels_us:.0f} µs with them, {detector.eager_us:.0f} µs without")
    for goal in report.goals:
        console.print(_goal(goal), style="yellow" if goal.status == "not run" else None, markup=False, soft_wrap=True)
    for part, reason in report.not_run.items():
        console.print(f"not run: {part}: {reason}", style="yellow", markup=False, soft_wrap=True)
    for part, reason in report.failed.items():
        console.print(f"failed: {part}: {reason}", style="red", markup=False, soft_wrap=True)


def _times(report: GpuReport) -> Table:
    table = Table("kernel", "p50 µs", "p99 µs", "bytes at copy speed µs", "rival", "rival µs", "rival / kernel")
    bandwidth = report.copy_bytes_per_second
    for entry in report.times:
        kernel = entry.time.kernel
        floor = f"{entry.time.counted_bytes / bandwidth * 1e6:.1f}" if bandwidth else ""
        own = (entry.workload, f"{kernel.p50:.1f}", f"{kernel.p99:.1f}", floor)
        for number, (rival, timing) in enumerate(entry.time.rivals.items()):
            times = (f"{timing.p50:.1f}", f"{timing.p50 / kernel.p50:.2f}")
            table.add_row(*(own if number == 0 else ("",) * len(own)), rival, *times)
    return table


def _goal(goal: GoalReport) -> str:
    if goal.ratio is None:
        return f"not run: {goal.name}, wanted {goal.wanted}: {goal.reason}"
    return f"{'met' if goal.status == 'met' else 'MISSED'}: {goal.name}: {goal.ratio:.2f}, wanted {goal.wanted}"
