"""Measure accuracy: ``python -m refinemask.evaluate --checkpoint MODEL --annotations A.json --images DIR``.

``torchrun --nproc-per-node N -m refinemask.evaluate …`` divides the images among N processes.
"""

import json
import sys
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import tyro
from rich.console import Console
from rich.table import Table

from refinemask.config import ModelConfig
from refinemask.data.categories import COCO
from refinemask.data.coco import CocoDataset, read_coco
from refinemask.data.lvis import LvisDataset, read_lvis
from refinemask.distributed import is_main, process_group
from refinemask.evaluation.ap_star import read_cocofied
from refinemask.evaluation.classes import require_classes
from refinemask.evaluation.coco import IOU_TYPES, IoUType, default_max_detections, evaluate_coco
from refinemask.evaluation.lvis import IOU_TYPES as LVIS_IOU_TYPES
from refinemask.evaluation.lvis import MAX_DETECTIONS, evaluate_lvis
from refinemask.evaluation.predictions import PredictionFile
from refinemask.evaluation.sharding import predict_shares
from refinemask.files import UserError, atomic_write, require_no_directory, sha256

Metric = Literal["coco", "lvis", "ap-star"]
READERS = {"coco": read_coco, "lvis": read_lvis, "ap-star": read_cocofied}
NAMES: dict[IoUType, str] = {"bbox": "box", "segm": "mask", "boundary": "boundary"}


@dataclass(frozen=True, kw_only=True)
class Args:
    """Average precision of boxes, masks and mask boundaries."""

    checkpoint: Path
    """A checkpoint (.safetensors), or an exported file of any engine."""
    annotations: Path
    """Annotations of the metric's kind; those of ap-star are made by refinemask.evaluation.ap_star."""
    images: Path
    """The folder of the images that the annotations name; for lvis and ap-star, of train2017 and val2017."""
    metric: Metric = "coco"
    """lvis has the figures of LVIS; ap-star are these for a COCO detector, on COCO's categories of LVIS."""
    predictions: Path | None = None
    """Keep the predictions here, one line per image; an interrupted run continues from the file."""
    results: Path | None = None
    """Write all detections as a COCO results file."""
    output: Path | None = None
    """Write the figures as JSON."""
    iou_types: tuple[IoUType, ...] | None = None
    """All of the metric if not given; only coco has boundaries."""
    max_detections: int | None = None
    """Per image and category, for coco; its 100 if not given, or more where an image has more objects."""
    limit: int | None = None
    """Use only the first so many images."""
    batch_size: int = 1
    device: str = "cpu"
    """cpu or cuda."""
    threads: int | None = None
    """CPU threads of the engine; its own choice if not given."""


def main(args: Args | None = None) -> int:
    """Print and write the figures; 2 for bad input."""
    args = args or tyro.cli(Args, description=__doc__)
    try:
        return _evaluate(args)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _evaluate(args: Args) -> int:
    # The engines are built on this package; only its command lines reach up to them.
    import engines

    for name in ("limit", "batch_size", "max_detections", "threads"):
        if (value := getattr(args, name)) is not None and value < 1:
            raise UserError(f"--{name.replace('_', '-')} is {value}; expected at least 1")
    if args.metric != "coco" and ("boundary" in (args.iou_types or ()) or args.max_detections is not None):
        raise UserError(f"--metric {args.metric} has no boundaries and always {MAX_DETECTIONS} detections per image")
    for output in (args.output, args.results):
        if output is not None:
            require_no_directory(output)
    dataset = READERS[args.metric](args.annotations)
    dataset = replace(dataset, images=dataset.images[: args.limit])
    with ExitStack() as stack:
        device = stack.enter_context(process_group(args.device))
        engine = engines.load(args.checkpoint, device=str(device), threads=args.threads)
        _check_classes(engine.config, dataset, args)
        source = {"model": sha256(args.checkpoint), "annotations": sha256(args.annotations)}
        path = args.predictions or Path(stack.enter_context(TemporaryDirectory())) / "predictions.jsonl"
        predictions, skipped = predict_shares(
            engine, dataset.images, args.images, path, source, batch_size=args.batch_size
        )
        stack.enter_context(predictions)
        predictions.restrict(image.id for image in dataset.images)
        if not is_main():
            return 0
        for reason in skipped:
            print(f"skipped: {reason}", file=sys.stderr)
        if len(skipped) == len(dataset.images):
            raise UserError(f"{args.images}: none of the {len(dataset.images)} images could be used")
        if args.results:
            predictions.export(args.results)
        figures, max_detections = _measure(dataset, predictions, args)
    report = {
        "model": args.checkpoint.name,
        "metric": args.metric,
        "engine": engine.name,
        "precision": engine.precision,
        "sha256": source,
        "images": len(dataset.images) - len(skipped),
        "skipped": len(skipped),
        "max_detections": max_detections,
        "figures": figures,
    }
    _show(report)
    if args.output:
        with atomic_write(args.output) as temporary:
            temporary.write_text(json.dumps(report, indent=2) + "\n")
    return 0


def _measure(dataset: CocoDataset, predictions: PredictionFile, args: Args) -> tuple[dict[str, dict[str, float]], int]:
    """The figures by IoU type, and the detections that count per image (and class, for COCO)."""
    if isinstance(dataset, LvisDataset):
        iou_types = [t for t in LVIS_IOU_TYPES if t in (args.iou_types or LVIS_IOU_TYPES)]
        return {t: evaluate_lvis(dataset, predictions, t) for t in iou_types}, MAX_DETECTIONS
    limit = args.max_detections or default_max_detections(dataset)
    return evaluate_coco(dataset, predictions, args.iou_types or IOU_TYPES, limit), limit


def _check_classes(config: ModelConfig, dataset: CocoDataset, args: Args) -> None:
    if args.metric == "ap-star" and config.category_ids != COCO.category_ids:
        raise UserError(
            f"{args.checkpoint}: finds {len(config.class_names)} classes; AP* is of a detector of COCO's 80"
        )
    require_classes(dataset, config, str(args.checkpoint))


def _show(report: dict[str, Any]) -> None:
    engine = f"{report['engine']} {report['precision']}"
    heading = f"{report['model']} · {engine} · {report['metric']} · {report['images']} images"
    if report["skipped"]:
        heading += f", {report['skipped']} skipped and not counted"
    table = Table("", *next(iter(report["figures"].values())))
    for iou_type, figures in report["figures"].items():
        table.add_row(NAMES[iou_type], *(f"{100 * value:.1f}" if value >= 0 else "–" for value in figures.values()))
    console = Console(highlight=False)
    console.print(heading, table, sep="\n", markup=False)
    per = "image and class" if report["metric"] == "coco" else "image"
    console.print(f"at most {report['max_detections']} detections per {per}")


if __name__ == "__main__":
    raise SystemExit(main())
