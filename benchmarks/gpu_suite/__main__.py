"""All that a machine with a CUDA GPU can prove, within minutes: ``python -m benchmarks.gpu_suite -o DIR``."""

import torch

from benchmarks.gpu_suite.suite import Plan, Suite
from benchmarks.gpu_suite.tables import print_suite
from benchmarks.harness.report_file import write_report
from refinemask.command import execute
from refinemask.files import UserError
from refinemask.spelling import Old

OLD = {"--out": Old("--output"), "--checkpoint": Old("--model")}


def main(plan: Plan | None = None) -> int:
    """Run everything; exit code 1 where a check or a part failed, 2 where there is no CUDA device."""
    return execute(Plan, _gpu_suite, plan, old=OLD)


def _gpu_suite(plan: Plan) -> int:
    if not torch.cuda.is_available():
        raise UserError("no CUDA device: this suite is about what only a GPU can prove")
    plan.output.mkdir(parents=True, exist_ok=True)
    report = Suite(plan).run_all()
    write_report(report, plan.output / "gpu_suite.json")
    print_suite(report)
    return int(bool(report.failed or report.failed_checks))


if __name__ == "__main__":
    raise SystemExit(main())
