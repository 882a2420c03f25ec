"""What a batch job costs beside the plain predictor, and its memory: ``python -m benchmarks.batch_job``.

The model is the bundled one for nuclei, exported at another size so that an image takes about the time that is wanted.
"""

from dataclasses import dataclass

from benchmarks.batch_job.long_run import measure_long_run
from benchmarks.batch_job.material import CHECKPOINT, nuclei_model
from benchmarks.batch_job.overhead import measure_overhead
from benchmarks.batch_job.report import BatchJobReport
from benchmarks.harness.provenance import provenance
from benchmarks.harness.report_file import print_json, write_report
from refinemask.command import execute
from refinemask.files import UserError
from refinemask.options import require_at_least
from refinemask.spelling import OptionalOutput


@dataclass(frozen=True, kw_only=True)
class Args:
    """Run the plain predictor and a batch job in turns over the same images, and a job over many images."""

    side: int = 224
    """Pixels of the sides to which images are resized, a multiple of 32."""
    threads: int = 1
    """CPU threads of each engine."""
    rounds: int = 6
    """Rounds of both ways in turns; 0 leaves the comparison out."""
    images: int = 400
    """Images of a round."""
    long_run: int = 20_000
    """Images of the long run, which are the 46 of the validation set again and again; 0 leaves it out."""
    actors: int = 2
    """Actors of the long run."""
    shard_size: int = 100
    """Images of a shard."""
    seconds_between: float = 5.0
    """Time between two looks at the memory."""
    output: OptionalOutput = None
    """Write the report as JSON."""


def main(args: Args | None = None) -> int:
    """The command line."""
    return execute(Args, _run, args, __doc__)


def _run(args: Args) -> None:
    counts = {"threads": args.threads, "actors": args.actors, "shard_size": args.shard_size, "side": args.side}
    require_at_least(1, **counts)
    require_at_least(0, rounds=args.rounds, long_run=args.long_run)
    if args.rounds and args.images < 2 * args.shard_size:
        raise UserError(f"--images is {args.images}; expected at least {2 * args.shard_size}, twice --shard-size")
    with nuclei_model(args.side) as model:
        common = {"shard_size": args.shard_size, "threads": args.threads}
        report = BatchJobReport(
            provenance=provenance([CHECKPOINT]),
            side=args.side,
            threads=args.threads,
            overhead=measure_overhead(model, count=args.images, rounds=args.rounds, **common) if args.rounds else None,
            long_run=measure_long_run(
                model, count=args.long_run, actors=args.actors, seconds_between=args.seconds_between, **common
            )
            if args.long_run
            else None,
        )
    write_report(report, args.output)
    print_json(report)


if __name__ == "__main__":
    raise SystemExit(main())
