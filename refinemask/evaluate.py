"""Measure accuracy: ``python -m refinemask.evaluate MODEL --annotations A.json --images DIR``.

``torchrun --nproc-per-node N -m refinemask.evaluate …`` divides the images among N processes.
``python -m refinemask.evaluate --results THEIRS.json --annotations A.json``, without MODEL, measures what another tool
found.
"""

from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path

from refinemask.command import execute
from refinemask.config import with_window
from refinemask.differences.choice import NUMBER
from refinemask.distributed import is_main, process_group
from refinemask.evaluation.bootstrap import RESAMPLES
from refinemask.evaluation.coco import IoUType
from refinemask.evaluation.foreign_results import evaluate_results
from refinemask.evaluation.metrics import MetricName
from refinemask.evaluation.report_page import write_evaluation_page
from refinemask.evaluation.run import Evaluation, evaluate
from refinemask.evaluation.table import print_evaluation
from refinemask.exit_codes import command_line
from refinemask.files import UserError, atomic_write
from refinemask.options import require_at_least, require_own_files, require_page_name
from refinemask.spelling import (
    Old,
    OptionalModel,
    OptionalName,
    OptionalNumber,
    OptionalOutput,
    OptionalPath,
    OptionalWindow,
)

WITHOUT_MODEL = {
    "model", "annotations", "images", "metric", "results", "output", "report", "iou_types", "max_detections",
    "crowd_as_object", "limit", "resamples",
}  # fmt: skip
"""Options that measuring a results file has, too; the others say how a model runs."""


@dataclass(frozen=True, kw_only=True)
class Args:
    """Average precision of boxes, masks and mask boundaries."""

    model: OptionalModel = None
    """A checkpoint (.safetensors), or an exported file of any engine; none measures a results file (--results)."""
    annotations: Path
    """COCO or LVIS annotations, as the metric asks; for coco, also those of YOLO (data.yaml:val), labelme, Pascal VOC
    and PNG instance masks; for ap-star, what refinemask.evaluation.ap_star makes."""
    images: OptionalPath = None
    """Folder of the annotated images; for lvis and ap-star, the folder that holds train2017 and val2017. Without MODEL
    it is for the pictures of --report, and for annotations that lack the images' sizes."""
    metric: MetricName = "coco"
    """coco, lvis, or ap-star: the figures of LVIS for a COCO detector, on the categories that both data sets have."""
    predictions: OptionalPath = None
    """Keep the predictions here, one line per image; an interrupted run continues from the file."""
    results: OptionalPath = None
    """With MODEL, the COCO results file to write all detections to. Without, the results file to measure, which another
    tool made."""
    output: OptionalOutput = None
    """Write the figures as JSON."""
    report: OptionalPath = None
    """Write a page (.html) with the figures, curves, classes, and pictures where masks and annotations differ most."""
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
    backend: OptionalName = None
    """The engine that runs the file, such as openvino for .onnx; if not given, by the file's ending."""
    device: str = "cpu"
    """cpu or cuda."""
    precision: OptionalName = None
    """The file's own if not given; else fp32, tf32, fp16 or bf16, as far as the file and the engine have it, and for an
    int8 file int8 or, in OpenVINO, int8+fp32 or int8+bf16."""
    threads: OptionalNumber = None
    """CPU threads of the engine; if not given, the engine chooses."""
    window: OptionalWindow = None
    """How images of more than 8 bits become images of 8: the values that become 0 and 255, or percentiles of each
    image's values; if not given, the model's."""


def main(args: Args | None = None) -> int:
    """Print and write the figures; 2 for bad input."""
    evaluate_and_show = partial(_evaluate, command=None if args else command_line())
    return execute(Args, evaluate_and_show, args, __doc__, old={"--checkpoint": Old(""), "--model": Old("")})


def _evaluate(args: Args, command: str | None) -> None:
    require_page_name("--report", args.report)
    found = _evaluate_results(args) if args.model is None else _evaluate_model(args, args.model)
    if found is not None:
        _report(found, args, command)


def _evaluate_results(args: Args) -> Evaluation | None:
    """What was found in a results file; None in all processes but the first."""
    if args.results is None:
        raise UserError(
            "MODEL is missing: expected a checkpoint or an exported file, or --results with the results file of "
            "another tool"
        )
    if not args.results.exists():
        raise UserError(
            f"{args.results}: no such file; without MODEL, --results is the results file to measure; to write one, "
            "name a MODEL"
        )
    for field in fields(args):
        if field.name not in WITHOUT_MODEL and getattr(args, field.name) != field.default:
            raise UserError(f"--{field.name.replace('_', '-')} is for running a MODEL, and none is given; leave it out")
    require_own_files({"--output": args.output, "--report": args.report}, args.annotations, args.results)
    with process_group("cpu"):
        # Nothing is run that processes could share.
        if not is_main():
            return None
        return evaluate_results(
            args.results,
            args.annotations,
            args.images,
            metric=args.metric,
            iou_types=args.iou_types,
            max_detections=args.max_detections,
            crowd_as_object=args.crowd_as_object,
            limit=args.limit,
            resamples=args.resamples,
            pictures=0 if args.report is None else NUMBER,
        )


def _evaluate_model(args: Args, model: Path) -> Evaluation | None:
    """What was found; None in all processes but the first."""
    # The engines are built on this package; only its command lines reach up to them.
    import engines

    if model.suffix == ".json":
        raise UserError(f"{model}: is no model; a results file is measured without MODEL: --results {model}")
    if args.images is None:
        raise UserError("--images is missing: expected the folder of the annotated images, which MODEL runs on")

    def open_engine() -> engines.Engine:
        engine = engines.load(
            model,
            backend=args.backend,
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
    outputs["--report"] = args.report
    require_own_files(outputs, args.annotations, model)
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
            model=model,
            predictions=args.predictions,
            results=args.results,
            pictures=0 if args.report is None else NUMBER,
            resamples=args.resamples,
        )
        return found if is_main() else None


def _report(found: Evaluation, args: Args, command: str | None) -> None:
    print_evaluation(found)
    if args.output is not None:
        with atomic_write(args.output) as temporary:
            temporary.write_text(found.to_json() + "\n")
    if args.report is not None:
        write_evaluation_page(found, args.report, command)
        print(f"report: {args.report}")


if __name__ == "__main__":
    raise SystemExit(main())
