"""The parts of the GPU suite, one after the other, within the time that was given."""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu_suite.all_goals import GOALS
from benchmarks.gpu_suite.context import KERNEL_LIBRARY, Context
from benchmarks.gpu_suite.goals import judge
from benchmarks.gpu_suite.part import Part
from benchmarks.gpu_suite.plan import Plan
from benchmarks.gpu_suite.report import GpuReport
from benchmarks.harness.provenance import provenance
from benchmarks.harness.report_file import write_report
from trt_plugins.libraries import build_libraries


def run_suite(plan: Plan, parts: Sequence[Part], library: Path | None = None) -> GpuReport:
    """Run the parts that the plan names, and write ``gpu_suite.json`` anew whenever there is a result.

    Args:
        plan: what to run.
        parts: all parts, in their order.
        library: the kernels' library; None is the built one.
    """
    origin = provenance()
    with tempfile.TemporaryDirectory(prefix="gpu_suite.") as scratch:
        context = Context(plan=plan, scratch=Path(scratch), library=library)

        def report() -> GpuReport:
            reports: dict[str, Any] = {part.field: context.report(part.report) for part in parts}
            found = GpuReport(
                provenance=origin,
                device=plan.device,
                tiny=plan.tiny,
                seconds=round(time.monotonic() - context.start, 1),
                outcomes=tuple(context.outcomes),
                **reports,
            )
            return replace(found, goals=judge(GOALS, found))

        context.save = lambda: write_report(report(), plan.output / "gpu_suite.json")
        run_parts(context, parts)
        return report()


def run_parts(context: Context, parts: Sequence[Part]) -> None:
    """Begin the jobs of all parts that were asked for, then run these parts one after the other."""
    named = context.plan.parts or [part.name for part in parts if part.by_default]
    asked = [part for part in parts if part.name in named]
    try:
        if context.cuda and context.library is None:
            context.begin(KERNEL_LIBRARY, build_libraries, architectures=(_architecture(),))
        # What is timed has the first claim on the processors.
        for part in sorted(asked, key=lambda part: not part.timed):
            context.part = part.name
            context.attempt("preparation", partial(part.prepare, context))
        for part in asked:
            if part.timed:
                context.wait_for_jobs()
            context.run_part(part.name, partial(part.run, context), part.seconds)
    finally:
        context.end_jobs()


def _architecture() -> str:
    """The device's architecture, for machine code alone, as CMake calls it."""
    return "{}{}-real".format(*torch.cuda.get_device_capability())
