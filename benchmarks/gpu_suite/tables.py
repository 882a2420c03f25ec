"""The GPU suite's results for a terminal."""

from rich.console import RenderableType
from rich.table import Table

from benchmarks.gpu_suite.accuracy import AccuracyReport
from benchmarks.gpu_suite.goal_report import GoalReport
from benchmarks.gpu_suite.kernel_times_report import KernelTimesReport
from benchmarks.gpu_suite.network import NetworkReport, NetworkTime
from benchmarks.gpu_suite.profile import ProfileReport
from benchmarks.gpu_suite.report import GpuReport
from benchmarks.harness.terminal import terminal

STYLES = {"failed": "red", "missed": "red", "reached": "green", "not run": "yellow", "done": None}
LISTED_KERNELS = 12


def print_suite(report: GpuReport) -> None:
    """Print a table of each kind of result, then how the goals fared and, last, what was not run or failed."""
    console = terminal()
    for part in _tables(report):
        console.print(part, markup=False, soft_wrap=isinstance(part, str))
    for goal in report.goals:
        console.print(_goal(goal), style=STYLES[goal.status], markup=False, soft_wrap=True)
    for outcome in report.outcomes:
        if outcome.status != "done":
            line = f"{outcome.status}: {outcome.name}: {outcome.reason}"
            console.print(line, style=STYLES[outcome.status], markup=False, soft_wrap=True)


def _tables(report: GpuReport) -> list[RenderableType]:
    found: list[RenderableType] = []
    if report.numerics:
        found += [f"failed check: {c.name}: {c.error:.2e}, limit {c.limit:.0e}" for c in report.numerics.failed]
    if report.sanitizer:
        found += [f"{run.name}: {line}" for run in report.sanitizer.failed for line in run.output]
        found.append(report.sanitizer.headline)
    if report.ceilings:
        found.append(report.ceilings.headline)
    if report.network:
        found.append(_network(report.network))
    if report.profile:
        found.append(_profile(report.profile))
    if report.accuracy:
        found.append(_accuracy(report.accuracy))
    if report.kernel_times:
        bandwidth = report.ceilings.copy_bytes_per_second if report.ceilings else None
        found.append(_kernel_times(report.kernel_times, bandwidth))
    found += [
        each.headline
        for each in (report.packages, report.paste, report.end_to_end, report.detector, report.training)
        if each
    ]
    return found


def _network(report: NetworkReport) -> Table:
    names = ("network", "batch", "detections", "contender", "device ms", "q1 to q3", "wall ms", "enqueue ms")
    table = Table(*names, "memory MiB", "of fp16 product", "as eager fp32")
    for time in report.times:
        table.add_row(
            time.network,
            str(time.batch),
            f"{time.detections:.0f}",
            time.contender,
            f"{time.device_ms.median:.3f}",
            f"{time.device_ms.q1:.3f} to {time.device_ms.q3:.3f}",
            f"{time.wall_ms.median:.3f}",
            f"{time.enqueue_ms.median:.3f}" if time.enqueue_ms else "",
            f"{time.memory_bytes / 2**20:.0f}" if time.memory_bytes is not None else "",
            _share(report.product_share(time)),
            _agreement(time),
        )
    return table


def _agreement(time: NetworkTime) -> str:
    return _share(time.agreement.matched) if time.agreement else ""


def _share(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"


def _profile(report: ProfileReport) -> Table:
    table = Table("µs an image", "launches", "kind", f"kernels of {report.contender}")
    for kernel in report.top[:LISTED_KERNELS]:
        table.add_row(f"{kernel.us:.1f}", f"{kernel.launches:g}", kernel.kind, kernel.name[:80])
    for kind, us in report.us.items():
        table.add_row(f"{us:.1f}", "", kind, "all of this kind")
    return table


def _accuracy(report: AccuracyReport) -> Table:
    table = Table("contender", "mask AP", "box AP", title=f"nuclei, {report.images} images")
    for each in report.contenders:
        figures = ("" if ap is None else f"{ap:.2f}" for ap in (each.mask_ap, each.box_ap))
        table.add_row(each.contender, *figures)
    return table


def _kernel_times(report: KernelTimesReport, bandwidth: float | None) -> Table:
    table = Table("kernel", "p50 µs", "p99 µs", "bytes at copy speed µs", "rival", "rival µs", "rival / kernel")
    for workload, time in report.times.items():
        kernel = time.kernel
        floor = f"{time.counted_bytes / bandwidth * 1e6:.1f}" if bandwidth else ""
        own = (str(workload), f"{kernel.p50:.1f}", f"{kernel.p99:.1f}", floor)
        for number, (rival, timing) in enumerate(time.rivals.items()):
            figures = (f"{timing.p50:.1f}", f"{timing.p50 / kernel.p50:.2f}")
            table.add_row(*(own if number == 0 else ("",) * len(own)), rival, *figures)
    return table


def _goal(goal: GoalReport) -> str:
    if goal.figure is None:
        return f"not run: {goal.name}, wanted {goal.wanted}: {goal.reason}"
    return f"{goal.status}: {goal.name}: {goal.figure:.3g}, wanted {goal.wanted}"
