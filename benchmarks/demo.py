"""The product's main job on the bundled images: export, run by other engines, compare, draw (``make demo``)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from rich.console import Console

import engines
from benchmarks.harness.comparison import compare
from benchmarks.harness.provenance import cpu
from benchmarks.harness.report_file import write_report
from benchmarks.harness.requirement import exit_code, judge, parse_requirements
from benchmarks.harness.settings import Settings
from benchmarks.harness.spec import openvino_precisions
from benchmarks.harness.tables import print_accuracy, print_comparison
from benchmarks.report_page.differences import look_for_differences
from benchmarks.report_page.write import Extra, write_page
from export import MismatchError, export_onnx, quantize_onnx
from export.calibration.ranges import read_calibration
from export.tables import comparison_table, print_export
from refinemask.bundled import DEMO, NUCLEI
from refinemask.command import execute
from refinemask.data.coco import read_coco
from refinemask.evaluation.bootstrap import RESAMPLES
from refinemask.exit_codes import command_line
from refinemask.files import UserError, require_not_input, sha256
from refinemask.options import require_at_least
from refinemask.sources.words import source_of
from refinemask.spelling import Old, OptionalNumber, Output
from refinemask.writers.coco_results import CocoResults
from refinemask.writers.pictures import Pictures, require_drawing
from refinemask.writers.write import write_predictions

RANGES = DEMO / "weights" / "refinemask-nuclei.ranges.json"
"""Ranges of the bundled checkpoint, by which it is quantised."""
REQUIREMENTS = ("ΔAP >= -1", "Δboundary_ap >= -1")
"""What must hold for every engine on all images. AP changes by hundredths of a point in bf16, by tenths in int8."""


@dataclass(frozen=True, kw_only=True)
class Args:
    """Export a checkpoint to ONNX and compare PyTorch, ONNX Runtime and OpenVINO on annotated images."""

    model: Path = DEMO / "weights" / "refinemask-nuclei.safetensors"
    """Checkpoint to export."""
    annotations: Path = NUCLEI / "annotations" / "instances_val.json"
    """COCO annotations."""
    images: Path = NUCLEI / "images"
    """Directory of the annotated images."""
    output: Output = Path("out/demo")
    """Directory for the ONNX files, the report, its page and the pictures."""
    pictures: int = 6
    """Images to draw the detections on; 0 draws none."""
    limit: OptionalNumber = None
    """Number of the first images to use; all if not given."""


def engine_names(checkpoint: Path, onnx: Path) -> list[str]:
    """PyTorch first, then ONNX Runtime, then what this machine can run of OpenVINO."""
    return [str(checkpoint), str(onnx), *(f"{onnx}@openvino:{precision}" for precision in openvino_precisions())]


def main(args: Args | None = None) -> int:
    """Run the demo; returns the exit code, which is the exporter's where it fails."""
    command = None if args else command_line()
    return execute(Args, partial(_demo, command=command), args, old={"--checkpoint": Old("--model")})


def _demo(args: Args, command: str | None) -> int:
    names = ("model.onnx", "model-int8.onnx", "report.json", "report.html", "pictures")
    onnx, int8, report_file, page, drawn = (args.output / name for name in names)
    require_at_least(1, limit=args.limit)
    require_at_least(0, pictures=args.pictures)
    if args.pictures:
        require_drawing()
    for output in (onnx, int8, report_file, page):
        require_not_input(output, args.model, args.annotations)
    dataset = read_coco(args.annotations)
    images = dataset.images[: args.limit]
    print(f"1. exporting {args.model.name} to {onnx}, verified against PyTorch")
    _export(args, onnx)
    engines_here = engine_names(args.model, onnx)
    if sha256(args.model) == read_calibration(RANGES).source_sha256 and "@openvino" in engines_here[-1]:
        engines_here += _int8_engine(args, onnx, int8)
    print(f"2. comparing engines on {len(images)} held-out images")
    settings = Settings(threads=cpu().cores or 1)
    extras: list[Extra] = []
    look = look_for_differences(extras, dataset, args.images)
    # A few images alone say little of an engine.
    requirements = parse_requirements(() if args.limit else REQUIREMENTS, engines_here)
    measured = compare(engines_here, dataset, args.images, settings, limit=args.limit, resamples=RESAMPLES, look=look)
    report = judge(replace(measured, command=command), requirements)
    write_report(report, report_file)
    write_page(report, page, *extras)
    used = [image for image in images if Path(image.file_name).name not in (report.skipped or ())]
    paths = [args.images / image.file_name for image in used[: args.pictures]]
    if paths:
        print(f"3. drawing what ONNX Runtime finds in {len(paths)} of them")
        _draw(onnx, paths, drawn)
    print_accuracy(report)
    print_comparison(report)
    print(f"report with all samples: {report_file}")
    if paths:
        print(f"pictures: {drawn}")
    for requirement in requirements:
        print(f"required of every engine: {requirement.text}")
    print(f"report to look at: {page}")
    return exit_code(report)


def _export(args: Args, onnx: Path) -> None:
    try:
        report = export_onnx(args.model, onnx, masks="found", verify_images=args.images)
    except MismatchError as error:
        print_export(error)
        raise
    print_export(report)


def _int8_engine(args: Args, onnx: Path, int8: Path) -> list[str]:
    """Quantise the exported file; the engine that runs it, its rest in bf16 where the CPU has it, or nothing."""
    precisions = openvino_precisions("int8")
    if not precisions:
        return []
    print(f"   quantising it to {int8}, by the bundled ranges")
    title = "int8 against fp32, worst of each"
    try:
        report = quantize_onnx(onnx, int8, images=args.images, ranges=RANGES)
    except MismatchError as error:
        Console().print(comparison_table(error.comparisons, error.parity, title))
        raise
    Console().print(comparison_table(report.comparisons, report.parity, title))
    try:
        # OpenVINO says that it has int8 where it computes some layers otherwise.
        engines.load(int8, backend="openvino", precision=precisions[-1])
    except UserError as error:
        print(f"not run: {error}")
        return []
    return [f"{int8}@openvino:{precisions[-1]}"]


def _draw(onnx: Path, images: Sequence[Path], directory: Path) -> None:
    writers = [CocoResults(directory / "results.json"), Pictures(directory, inputs=images)]
    written = write_predictions(engines.load(onnx), source_of(images), writers)
    if written.failed:
        # The comparison has read every one of them.
        raise UserError(written.reasons[0])
    print(f"{len(images)} of {len(images)} images predicted, 0 skipped: {directory}")


if __name__ == "__main__":
    raise SystemExit(main())
