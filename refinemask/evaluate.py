"""Measure accuracy: ``python -m refinemask.evaluate MODEL --annotations A.json --images DIR``.

``torchrun --nproc-per-node N -m refinemask.evaluate …`` divides the images among N processes.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from refinemask.command import execute
from refinemask.config import with_window
from refinemask.distributed import is_main, process_group
from refinemask.evaluation.bootstrap import RESAMPLES
from refinemask.evaluation.coco import IoUType
from refinemask.evaluation.metrics import METRICS, MetricName
from refinemask.evaluation.run import Evaluation, evaluate
from refinemask.exit_codes import printable
from refinemask.files import atomic_write
from refinemask.options import require_at_least, require_own_files
from refinemask.spelling import Model, Old, OptionalName, OptionalNumber, OptionalOutput, OptionalPath, OptionalWindow

SHOWN_REASONS = 10
"""Largest number of skipped images whose reason is printed."""
NAMES: dict[str, str] = {"bbox": "box", "segm": "mask", "boundary": "boundary"}


@dataclass(frozen=True, kw_only=True)
class Args:
    """Average precision of boxes, masks and mask boundaries."""

    model: Model
    """A checkpoint (.safetensors), or an exported file of any engine."""
    annotations: Path
    """COCO or LVIS annotations, as the metric asks; for coco, also those of YOLO (data.yaml:val), labelme, Pascal VOC
    and PNG instance masks; for ap-star, what refinemask.evaluation.ap_star makes."""
    images: Path
    """Folder of the annotated images; for lvis and ap-star, the folder that holds train2017 and val2017."""
    metric: MetricName = "coco"
    """coco, lvis, or ap-star: the figures of LVIS for a COCO detector, on the categories that both data sets have."""
    predictions: OptionalPath = None
    """Keep the predictions here, one line per image; an interrupted run continues from the file."""
    results: OptionalPath = None
    """Write all detections as a COCO results file."""
    output: OptionalOutput = None
    """Write the figures as JSON."""
    iou_types: tuple[IoUType, ...] | None = None
    """Kinds of overlap to measure; all of the metric if not given. Only coco has boundaries."""
    detections: OptionalNumber = None
    """Largest number of detections per image, 1 to 3840; if not given, the file's, and only a checkpoint has more."""
    score_threshold: float | None = None
    """Score above which a detection counts, 0 to 1; if not given, the file's, and only a checkpoint has a lower one."""
    max_detections: OptionalNumber = None
    """Detections that count per image and category, for coco; if not given 100, or more for more objects."""
    crowd_as_object: bool = False
    """Take objects that are marked as crowds (iscrowd 1) as one object each, for coco."""
    limit: OptionalNumber = None
    """Use only the first so many images."""
    resamples: int = RESAMPLES
    """Bootstrap resamples of the images for the intervals of AP; 0 leaves the intervals out."""
    batch_size: OptionalNumber = None
    """Images, or tiles, that go through the network together; if not given, what the engine prefers."""
    workers: OptionalNumber = None
    """Threads that decode, and that resize and paste; if not given, by the processors of this machine."""
    tile: OptionalNumber = None
    """Predict images that are larger in tiles of this side in pixels, best about the size of the training's images."""
    overlap: OptionalNumber = None
    """Pixels that neighbouring tiles share, best more than an object's size; if not given, an eighth of the tile."""
    device: str = "cpu"
    """cpu or cuda."""
    precision: OptionalName = None
    """fp32, tf32, fp16 or bf16, as far as the engine has it; if not given, the file's own."""
    threads: OptionalNumber = None
    """CPU threads of the engine; if not given, the engine chooses."""
    window: OptionalWindow = None
    """How images of more than 8 bits become images of 8: the values that become 0 and 255, or percentiles of each
    image's values; if not given, the model's."""


def main(args: Args | None = None) -> int:
    """Print and write the figures; 2 for bad input."""
    return execute(Args, _evaluate, args, __doc__, old={"--checkpoint": Old(""), "--model": Old("")})


def _evaluate(args: Args) -> None:
    # The engines are built on this package; only its command lines reach up to them.
    import engines

    def open_engine() -> engines.Engine:
        engine = engines.load(
            args.model,
            device=device,
            precision=args.precision,
            threads=args.threads,
            detections=args.detections,
            score_threshold=args.score_threshold,
        )
        engine.config = with_window(engine.config, args.window)
        return engine

    require_at_least(1, threads=args.threads)
    outputs = {"--output": args.output, "--predictions": args.predictions, "--results": args.results}
    require_own_files(outputs, args.annotations, args.model)
    with process_group(args.device) as device:
        found = evaluate(
            open_engine,
            args.annotations,
            args.images,
            metric=args.metric,
            iou_types=args.iou_types,
            max_detections=args.max_detections,
            crowd_as_object=args.crowd_as_object,
            limit=args.limit,
            batch_size=args.batch_size,
            workers=args.workers,
            tile=args.tile,
            overlap=args.overlap,
            model=args.model,
            predictions=args.predictions,
            results=args.results,
            resamples=args.resamples,
        )
        if is_main():
            _show(found)
            if args.output is not None:
                with atomic_write(args.output) as temporary:
                    temporary.write_text(found.to_json() + "\n")


def _show(found: Evaluation) -> None:
    for reason in found.skipped[:SHOWN_REASONS]:
        print(f"skipped: {printable(reason)}", file=sys.stderr)
    if len(found.skipped) > SHOWN_REASONS:
        print(f"skipped: and {len(found.skipped) - SHOWN_REASONS} more", file=sys.stderr)
    heading = f"{found.model} · {found.engine} {found.precision} · {found.metric} · {found.images} images"
    heading += "".join(f" · {name} {value}" for name, value in found.selection.source().items())
    if found.skipped:
        heading += f", {len(found.skipped)} skipped and not counted"
    table = Table("", *next(iter(found.figures.values())))
    for iou_type, figures in found.figures.items():
        table.add_row(NAMES[iou_type], *(f"{100 * value:.1f}" if value >= 0 else "–" for value in figures.values()))
    console = Console(highlight=False)
    console.print(heading, table, sep="\n", markup=False)
    per = "image" if METRICS[found.metric].fixed_max_detections else "image and class"
    if all(value < 0 for figures in found.figures.values() for value in figures.values()):
        nothing = "nothing to measure: no object of these images counts; crowds (iscrowd 1) and objects left out do not"
        console.print(nothing, soft_wrap=True)
    console.print(f"at most {found.max_detections} detections per {per}")
    if found.intervals:
        ends = (f"{NAMES[kind]} {100 * low:.1f}…{100 * high:.1f}" for kind, (low, high) in found.intervals.items())
        console.print(f"95 % interval of AP over images: {', '.join(ends)}")


if __name__ == "__main__":
    raise SystemExit(main())
