"""The product's main job on the bundled images: export, run by other engines, compare, draw (``make demo``)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness.comparison import compare
from benchmarks.harness.provenance import cpu
from benchmarks.harness.report_file import write_report
from benchmarks.harness.settings import Settings, require_at_least
from benchmarks.harness.spec import openvino_precisions
from benchmarks.harness.tables import print_accuracy, print_comparison
from export import to_onnx
from refinemask import predict
from refinemask.bundled import DEMO, NUCLEI
from refinemask.command import execute
from refinemask.data.coco import read_coco


@dataclass(frozen=True, kw_only=True)
class Args:
    """Export a checkpoint to ONNX and compare PyTorch, ONNX Runtime and OpenVINO on annotated images."""

    checkpoint: Path = DEMO / "weights" / "refinemask-nuclei.safetensors"
    annotations: Path = NUCLEI / "annotations" / "instances_val.json"
    images: Path = NUCLEI / "images"
    output: Path = Path("out/demo")
    """Directory for the ONNX file, the report and the pictures."""
    pictures: int = 6
    """Images to draw the detections on; 0 draws none."""
    limit: int | None = None
    """Only the first so many images."""


def engine_names(checkpoint: Path, onnx: Path) -> list[str]:
    """PyTorch first, then ONNX Runtime, then what this machine can run of OpenVINO."""
    return [str(checkpoint), str(onnx), *(f"{onnx}@openvino:{precision}" for precision in openvino_precisions())]


def main(args: Args | None = None) -> int:
    """Run the demo; returns the exit code, which is the exporter's where it fails."""
    return execute(Args, _demo, args)


def _demo(args: Args) -> int:
    onnx, report_file, drawn = (args.output / name for name in ("model.onnx", "report.json", "pictures"))
    require_at_least(1, limit=args.limit)
    require_at_least(0, pictures=args.pictures)
    dataset = read_coco(args.annotations)
    images = dataset.images[: args.limit]
    print(f"1. exporting {args.checkpoint.name} to {onnx}, verified against PyTorch")
    if code := _export(args, onnx):
        return code
    print(f"2. comparing engines on {len(images)} held-out images")
    engines = engine_names(args.checkpoint, onnx)
    report = compare(engines, dataset, args.images, Settings(threads=cpu().cores or 1), args.limit)
    write_report(report, report_file)
    paths = [args.images / image.file_name for image in images[: args.pictures]]
    if paths:
        print(f"3. drawing what ONNX Runtime finds in {len(paths)} of them")
        if code := _draw(onnx, paths, drawn):
            return code
    print_accuracy(report)
    print_comparison(report)
    print(f"report with all samples: {report_file}")
    if paths:
        print(f"pictures: {drawn}")
    return 0


def _export(args: Args, onnx: Path) -> int:
    wanted = to_onnx.Args(checkpoint=args.checkpoint, output=onnx, masks="found", verify_images=args.images)
    return to_onnx.main(wanted)


def _draw(onnx: Path, images: Sequence[Path], directory: Path) -> int:
    return predict.main(predict.Args(images=tuple(images), model=onnx, output=directory))


if __name__ == "__main__":
    raise SystemExit(main())
