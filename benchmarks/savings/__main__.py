"""What each exact saving of work gives on a CPU: ``python -m benchmarks.savings --output savings.json``."""

from dataclasses import dataclass, field
from pathlib import Path

import tyro

from benchmarks.harness.report_file import write_report
from benchmarks.harness.tables import print_tables
from benchmarks.savings.measurement import measure_savings
from benchmarks.savings.report import Settings
from benchmarks.savings.tables import tables
from refinemask.command import execute


@dataclass(frozen=True, kw_only=True)
class Args:
    """Measure each rearrangement of the mask head off and on, in turns: GFLOP by count, CPU seconds of all threads."""

    settings: tyro.conf.OmitArgPrefixes[Settings] = field(default_factory=Settings)
    output: Path | None = None
    """JSON file for the result."""


def main(args: Args | None = None) -> int:
    """Measure, write the JSON, print the tables; returns the exit code."""
    return execute(Args, _savings, args, description=__doc__)


def _savings(args: Args) -> None:
    report = measure_savings(args.settings)
    write_report(report, args.output)
    print_tables(tables(report), report.foreign_load)


if __name__ == "__main__":
    raise SystemExit(main())
