"""All that a machine with a CUDA GPU can prove, within minutes: ``python -m benchmarks.gpu_suite -o DIR``."""

import torch

from benchmarks.gpu_suite.parts import PARTS
from benchmarks.gpu_suite.plan import Plan, parse_plan
from benchmarks.gpu_suite.suite import run_suite
from benchmarks.gpu_suite.tables import print_suite
from refinemask.exit_codes import exit_code
from refinemask.files import UserError


def main(plan: Plan | None = None) -> int:
    """Run everything; exit code 1 where a check or a part failed, 2 where there is no such device."""
    return exit_code(lambda: _gpu_suite(plan or parse_plan([part.name for part in PARTS])))


def _gpu_suite(plan: Plan) -> int:
    if plan.device == "cuda" and not torch.cuda.is_available():
        raise UserError(
            "no CUDA device: this suite is about what only a GPU can prove; --device cpu --tiny walks its parts"
        )
    report = run_suite(plan, PARTS)
    print_suite(report)
    return int(bool(report.failed))


if __name__ == "__main__":
    raise SystemExit(main())
