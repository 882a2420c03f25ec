"""Measure accuracy: ``python -m refinemask.evaluate --checkpoint MODEL --annotations A.json --images DIR``."""

import json
import sys
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import tyro
from rich.console import Console
from rich.table import Table

from refinemask.config import ModelConfig
from refinemask.data.coco import CocoDataset, read_coco
from refinemask.evaluation.coco import IOU_TYPES, IoUType, default_max_detections, evaluate_coco
from refinemask.evaluation.predictions import PredictionFile, predict_dataset
from refinemask.files import UserError, atomic_write, sha256

NAMES: dict[IoUType, str] = {"bbox": "box", "segm": "mask", "boundary": "boundary"}


@dataclass(frozen=True, kw_only=True)
class Args:
    """COCO average precision of boxes, masks and mask boundaries."""

    checkpoint: Path
    """A checkpoint (.safetensors), or an exported file of any engine."""
    annotations: Path
    """COCO-format annotations."""
    images: Path
    """The folder of the images that the annotations name."""
    predictions: Path | None = None
    """Keep the predictions here, one line per image; an interrupted run continues from the file."""
    results: Path | None = None
    """Write all detections as a COCO results file."""
    output: Path | None = None
    """Write the figures as JSON."""
    iou_types: tuple[IoUType, ...] = IOU_TYPES
    max_detections: int | None = None
    """Per image and category; COCO's 100 if not given, or more where an image has more objects."""
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
    dataset = read_coco(args.annotations)
    dataset = replace(dataset, images=dataset.images[: args.limit])
    engine = engines.load(args.checkpoint, device=args.device, threads=args.threads)
    _check_classes(engine.config, dataset, args.checkpoint)
    source = {"model": sha256(args.checkpoint), "annotations": sha256(args.annotations)}
    with ExitStack() as stack:
        path = args.predictions or Path(stack.enter_context(TemporaryDirectory())) / "predictions.jsonl"
        predictions = stack.enter_context(PredictionFile(path, source))
        skipped = predict_dataset(engine, dataset.images, args.images, predictions, batch_size=args.batch_size)
        for reason in skipped:
            print(f"skipped: {reason}", file=sys.stderr)
        if len(skipped) == len(dataset.images):
            raise UserError(f"{args.images}: none of the {len(dataset.images)} images could be used")
        figures = evaluate_coco(dataset, predictions, args.iou_types, args.max_detections)
        if args.results:
            predictions.export(args.results)
    report = {
        "model": args.checkpoint.name,
        "engine": engine.name,
        "precision": engine.precision,
        "sha256": source,
        "images": len(dataset.images) - len(skipped),
        "skipped": len(skipped),
        "max_detections": args.max_detections or default_max_detections(dataset),
        "figures": figures,
    }
    if args.output:
        with atomic_write(args.output) as temporary:
            temporary.write_text(json.dumps(report, indent=2) + "\n")
    _show(report)
    return 0


def _check_classes(config: ModelConfig, dataset: CocoDataset, path: Path) -> None:
    known = dict(zip(config.category_ids, config.class_names, strict=True))
    for category, name in dataset.categories.items():
        if known.get(category) != name:
            raise UserError(
                f"{path}: finds {len(known)} classes, of which none is category {category} ({name}) of "
                f"{dataset.path}; evaluate it on the data set it was trained for"
            )


def _show(report: dict[str, Any]) -> None:
    heading = f"{report['model']} · {report['engine']} {report['precision']} · {report['images']} images"
    if report["skipped"]:
        heading += f", {report['skipped']} skipped and not counted"
    table = Table("", *next(iter(report["figures"].values())))
    for iou_type, figures in report["figures"].items():
        table.add_row(NAMES[iou_type], *(f"{100 * value:.1f}" if value >= 0 else "–" for value in figures.values()))
    console = Console(highlight=False)
    console.print(heading, table, sep="\n", markup=False)
    console.print(f"at most {report['max_detections']} detections per image and class")


if __name__ == "__main__":
    raise SystemExit(main())
