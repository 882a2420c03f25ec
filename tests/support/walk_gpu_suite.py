"""Walk parts of the GPU suite on the CPU: ``python -m tests.support.walk_gpu_suite DIR LIBRARY PART…``."""

import sys
from pathlib import Path

from benchmarks.gpu_suite.parts import PARTS
from benchmarks.gpu_suite.plan import Plan
from benchmarks.gpu_suite.suite import run_suite
from benchmarks.gpu_suite.tables import print_suite


def walk(output: Path, library: Path, names: list[str]) -> None:
    """Run the parts of these names; the plan names none, for what is asked for by name takes longer."""
    parts = [part for part in PARTS if part.name in names]
    assert len(parts) == len(names)
    print_suite(run_suite(Plan(output=output, device="cpu", tiny=True), parts, library))


if __name__ == "__main__":
    walk(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
