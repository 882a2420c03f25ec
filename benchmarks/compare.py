"""Engines side by side in speed and accuracy, both of the same files in the same run.

python -m benchmarks.compare model.safetensors model.onnx --annotations val.json --images DIRECTORY
python -m benchmarks.compare --table efficiency
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tyro

from benchmarks.harness.measure import Settings, measure, require_at_least
from benchmarks.harness.report import Report, build_report, print_report, write_report
from refinemask.data.coco import CocoDataset, read_coco
from refinemask.data.lvis import LvisDataset
from refinemask.evaluation.coco import evaluate_coco
from refinemask.evaluation.lvis import evaluate_lvis
from refinemask.evaluation.predictions import PredictionFile, Result
from refinemask.files import UserError


@dataclass(frozen=True, kw_only=True)
class Args:
    """Compare engines in latency, AP and boundary AP on an annotated data set.

    With --table efficiency, instead: the four models of the paper's efficiency table on every engine of this machine.
    Its own options are shown by --table efficiency --help.
    """

    engines: tyro.conf.Positional[tuple[str, ...]]
    """PATH[@BACKEND[:PRECISION]] each; the first is the baseline."""
    annotations: Path
    """COCO annotations."""
    images: Path
    """Directory of the annotated images."""
    limit: int | None = None
    """Only the first so many images."""
    output: Path | None = None
    """JSON file for the report with all samples."""
    settings: tyro.conf.OmitArgPrefixes[Settings] = field(default_factory=Settings)


def compare(
    engines: Sequence[str],
    dataset: CocoDataset,
    directory: Path,
    settings: Settings,
    limit: int | None = None,
    ap_star: LvisDataset | None = None,
) -> Report:
    """Measure speed and accuracy; see :func:`benchmarks.harness.report.build_report`.

    Accuracy is over the images that the rounds reach, the same for every engine; with annotations of AP* for the same
    images, the accuracy has an entry ``ap_star``.

    Raises:
        UserError: an engine, an image, the annotations or the limit are wrong.
    """
    require_at_least(1, limit=limit)
    if not directory.is_dir():
        raise UserError(f"{directory}: no such directory; --images expects the directory of the annotated images")
    images = dataset.images[:limit]
    with ExitStack() as stack:
        # On disk: thousands of images with hundreds of masks each would fill the memory.
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        found = [stack.enter_context(PredictionFile(scratch / f"{number}.jsonl", {})) for number in range(len(engines))]

        def collect(engine: int, image: int, results: list[Result]) -> None:
            found[engine].append(images[image].id, results)

        measurement = measure(engines, [directory / i.file_name for i in images], settings, collect)
        accuracy: list[dict[str, Any]] = [dict(evaluate_coco(dataset, results)) for results in found]
        if ap_star is not None:
            for figures, results in zip(accuracy, found, strict=True):
                figures["ap_star"] = evaluate_lvis(ap_star, results)
        return build_report(measurement, accuracy)


def main(args: Args | None = None) -> int:
    """Compare, print the tables, write the JSON; exit code 2 where something given is wrong."""
    table, rest = (None, []) if args else _chosen_table()
    if table == "efficiency":
        # It measures with this module's function.
        from benchmarks.efficiency import run

        return run.main(tyro.cli(run.Args, args=rest, prog="python -m benchmarks.compare --table efficiency"))
    try:
        # The settings are checked as they are read.
        args = args or tyro.cli(Args)
        report = compare(args.engines, read_coco(args.annotations), args.images, args.settings, args.limit)
        if args.output is not None:
            write_report(report, args.output)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print_report(report)
    return 0


def _chosen_table() -> tuple[str | None, list[str]]:
    """The table that the command line asks for, and the other arguments."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", add_help=False, allow_abbrev=False)
    parser.add_argument("--table", choices=["efficiency"])
    chosen, rest = parser.parse_known_args()
    return chosen.table, rest


if __name__ == "__main__":
    raise SystemExit(main())
