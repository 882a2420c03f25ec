"""How latency, throughput and memory grow with detections, image size, batch and threads.

python -m benchmarks.scaling model.safetensors model.onnx model.onnx@openvino:fp32 --images DIRECTORY -o scaling.json
"""

import sys

from benchmarks.efficiency.figure import written
from benchmarks.harness.device_state import disturbance
from benchmarks.harness.spec import require_new_output
from benchmarks.harness.tables import print_tables
from benchmarks.scaling.best import best_settings
from benchmarks.scaling.figure import draw
from benchmarks.scaling.measurement import measure_scaling
from benchmarks.scaling.plan import Plan
from benchmarks.scaling.report import ScalingReport
from benchmarks.scaling.table import best_lines, tables
from refinemask.command import execute
from refinemask.exit_codes import REQUIREMENT_NOT_MET


def main(args: Plan | None = None) -> int:
    """Measure, write JSON and figure, print the tables; exit code 3 if no setting is below the bound on latency."""
    return execute(Plan, _scale, args)


def _scale(plan: Plan) -> int:
    for output in written(plan.output) if plan.output else ():
        require_new_output(output, plan.engines, *plan.images)
    report = measure_scaling(plan)
    print_tables(tables(report), report.foreign_load)
    states = [state for each in report.settings for state in each.states or ()]
    if slowed := disturbance(states):
        print(f"warning: the GPU {slowed}: do not trust these latencies", file=sys.stderr)
    if plan.output is not None:
        for path in draw(report, plan.output):
            print(f"figure: {path}")
    return 0 if plan.latency is None else _name_best(report, plan.latency)


def _name_best(report: ScalingReport, bound: float) -> int:
    best = best_settings(report, bound)
    for line in best_lines(best, bound):
        print(line)
    if best:
        return 0
    print(f"no measured setting keeps {bound:g} ms (--latency)", file=sys.stderr)
    return REQUIREMENT_NOT_MET


if __name__ == "__main__":
    raise SystemExit(main())
