"""What each exact saving of work gives on a CPU: ``python -m benchmarks.savings --output savings.json``."""

from dataclasses import dataclass

from benchmarks.harness.report_file import write_report
from benchmarks.harness.spec import require_new_output
from benchmarks.harness.tables import print_tables
from benchmarks.savings.measurement import measure_savings
from benchmarks.savings.report import Settings
from benchmarks.savings.tables import tables
from refinemask.command import execute
from refinemask.spelling import OldSide, OptionalOutput, Size

OLD = {name: OldSide("--size", place, (800, 1344)) for place, name in enumerate(("--height", "--width"))}


@dataclass(frozen=True, kw_only=True)
class Args:
    """Measure each rearrangement of the mask head off and on, in turns: GFLOP by count, CPU seconds of all threads."""

    size: Size = (800, 1344)
    """Padded height and width of the image."""
    detections: int = Settings.detections
    """Number of detections that the model can give."""
    rounds: int = Settings.rounds
    """Number of rounds, each with as many objects as the next bundled photograph."""
    threads: int = Settings.threads
    """CPU threads."""
    output: OptionalOutput = None
    """JSON file for the result."""

    def settings(self) -> Settings:
        """The settings of the measurement."""
        height, width = self.size
        return Settings(
            height=height, width=width, detections=self.detections, rounds=self.rounds, threads=self.threads
        )


def main(args: Args | None = None) -> int:
    """Measure, write the JSON, print the tables; returns the exit code."""
    return execute(Args, _savings, args, description=__doc__, old=OLD)


def _savings(args: Args) -> None:
    require_new_output(args.output, [])
    report = measure_savings(args.settings())
    write_report(report, args.output)
    print_tables(tables(report), report.foreign_load)


if __name__ == "__main__":
    raise SystemExit(main())
