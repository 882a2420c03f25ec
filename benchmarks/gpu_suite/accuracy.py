"""Average precision of the bundled nuclei model, whoever runs it.

python -m benchmarks.gpu_suite.accuracy DIRECTORY

Detections are written as COCO result files first, with uncompressed run lengths, which NumPy alone can make. Where the
packages that score are missing, the files are scored elsewhere: by the command above, which prints the figures.
"""

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.gpu_suite.contenders import Contender, Entry, compiled, eager, exported, onnxruntime, tensorrt
from benchmarks.gpu_suite.context import Context, NotRunError
from benchmarks.gpu_suite.engine_files import begin_compiled, begin_onnx
from benchmarks.gpu_suite.memory import free_memory
from benchmarks.gpu_suite.subjects import Subject
from benchmarks.harness.report_file import print_json
from refinemask.bundled import DEMO, NUCLEI
from refinemask.config import ModelConfig
from refinemask.data.coco import CocoImage, read_coco
from refinemask.data.images import read_image
from refinemask.data.transforms import NetworkInput, preprocess
from refinemask.exit_codes import exit_code
from refinemask.files import UserError, atomic_write
from refinemask.json_files import Count, Id, checked, read_json
from refinemask.masks import paste_runs
from refinemask.structures import Detections
from refinemask.weights import read_config

CHECKPOINT = DEMO / "weights" / "refinemask-nuclei.safetensors"
ANNOTATIONS = NUCLEI / "annotations" / "instances_val.json"
CANVAS = (384, 384)
TINY_IMAGES = 2
SCORER = "pycocotools"
"""Package without which nothing is scored."""


@dataclass(frozen=True, kw_only=True)
class ContenderAccuracy:
    """Average precision of one contender, in points of a hundred."""

    contender: str
    file: str
    """Name of the file with its detections."""
    mask_ap: float | None = None
    """Mask AP; None until it is scored."""
    box_ap: float | None = None
    """Box AP; None until it is scored."""


@dataclass(frozen=True, kw_only=True)
class AccuracyReport:
    """The nuclei model on its held-out images."""

    images: int
    contenders: tuple[ContenderAccuracy, ...]

    @property
    def headline(self) -> str:
        """The key figures in one line."""
        figures = (f"{c.contender} {c.mask_ap:.2f}" for c in self.contenders if c.mask_ap is not None)
        return "mask AP: " + (", ".join(figures) or "not scored")


def prepare_accuracy(context: Context) -> None:
    """Begin to compile the nuclei model, and to export it where there is someone to run it."""
    begin_compiled(context, CHECKPOINT, "fp16" if context.cuda else "fp32", CANVAS, batch=1)
    if context.cuda:
        for precision in ("fp32", "fp16"):
            begin_onnx(context, CHECKPOINT, precision, CANVAS)


def run_accuracy(context: Context) -> AccuracyReport:
    """Run every contender over the images, write what it finds, and score it."""
    images = read_coco(ANNOTATIONS).images[: TINY_IMAGES if context.tiny else None]
    config = read_config(CHECKPOINT)
    batches = {image: preprocess([_pixels(image)], config.preprocessing, CANVAS) for image in images}
    report = AccuracyReport(images=len(images), contenders=())
    for contender in _contenders(context):
        found = context.attempt(contender.name, partial(_run_contender, context, contender, batches, config))
        free_memory()
        if found is not None:
            report = replace(report, contenders=(*report.contenders, found))
            context.keep(report)
    require_scorers(context.plan.output / DIRECTORY)
    return score(report, context.plan.output / DIRECTORY)


DIRECTORY = "detections"
"""Directory, within the suite's output, of the files with detections."""


def _contenders(context: Context) -> Iterable[Contender]:
    if not context.cuda:
        return eager("fp32"), eager("bf16"), compiled("fp32")
    eager_ones = (eager(precision) for precision in ("fp32", "tf32", "fp16"))
    rivals = exported("fp16", record=True), onnxruntime("fp32"), onnxruntime("fp16"), tensorrt("fp16")
    # Last, for it may still be compiled meanwhile.
    return *eager_ones, *rivals, compiled("fp16")


def _run_contender(
    context: Context, contender: Contender, batches: dict[CocoImage, NetworkInput], config: ModelConfig
) -> ContenderAccuracy:
    first = next(iter(batches.values()))
    subject = Subject(name="nuclei", checkpoint=CHECKPOINT, canvas=CANVAS, images={})
    opened = contender.open(Entry(context=context, subject=subject, batch=first))
    results: list[dict[str, Any]] = []
    for image, batch in batches.items():
        opened.upload(batch)
        results += uncompressed_results(image, opened.detections(), batch, config)
    name = contender.name.replace(", ", " ").replace(" ", "-") + ".json"
    with atomic_write(context.plan.output / DIRECTORY / name) as temporary:
        temporary.write_text(json.dumps(results))
    return ContenderAccuracy(contender=contender.name, file=name)


def _pixels(image: CocoImage) -> Any:
    return read_image(NUCLEI / "images" / image.file_name)


def uncompressed_results(
    image: CocoImage, detections: Detections, batch: NetworkInput, config: ModelConfig
) -> list[dict[str, Any]]:
    """One image's entries of a COCO results file, with uncompressed run lengths."""
    real = slice(int(detections.num_detections[0]))
    boxes = detections.boxes[0, real] / batch.scale_factors[0]
    runs = paste_runs(detections.masks[0, real], boxes, image.height, image.width)
    size = [image.height, image.width]
    return [
        {
            "image_id": image.id,
            "category_id": config.category_ids[label],
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "score": score,
            "segmentation": {"size": size, "counts": counts.tolist()},
        }
        for label, score, (x1, y1, x2, y2), counts in zip(
            detections.labels[0, real].tolist(), detections.scores[0, real].tolist(), boxes.tolist(), runs, strict=True
        )
    ]


def require_scorers(directory: Path) -> None:
    """Raise NotRunError where the package that scores is missing."""
    if not _is_installed(SCORER):
        later = f"python -m benchmarks.gpu_suite.accuracy {directory}"
        raise NotRunError(f"needs {SCORER}; the detections can be scored elsewhere: {later}")


def _is_installed(package: str) -> bool:
    try:
        import_module(package)
    except ImportError:
        return False
    return True


def score(report: AccuracyReport, directory: Path) -> AccuracyReport:
    """The report with figures, from the files with the contenders' detections."""
    return replace(
        report, contenders=tuple(_score_file(contender, directory, report.images) for contender in report.contenders)
    )


@dataclass(frozen=True)
class _Runs:
    size: tuple[Count, Count]
    counts: list[Count]


@dataclass(frozen=True)
class _Entry:
    """A detection as :func:`uncompressed_results` makes it."""

    image_id: Id
    category_id: Id
    score: float
    bbox: tuple[float, float, float, float]
    segmentation: _Runs


def read_detections(path: Path, images: Sequence[CocoImage]) -> dict[int, list[Any]]:
    """The entries of a file that :func:`run_accuracy` wrote, by image id; every image has a list.

    Raises:
        UserError: the file is no such file, or is of other images.
    """
    expected = "expected detections that python -m benchmarks.gpu_suite wrote"
    sizes = {image.id: (image.height, image.width) for image in images}
    results: dict[int, list[Any]] = {image.id: [] for image in images}
    try:
        for entry in checked(read_json(path, expected.removeprefix("expected ")), list[_Entry]):
            runs = entry.segmentation
            if sizes.get(entry.image_id) != runs.size or sum(runs.counts) != runs.size[0] * runs.size[1]:
                raise ValueError(f"image {entry.image_id} is none of {ANNOTATIONS.name}, or its masks do not fill it")
            if not np.isfinite([entry.score, *entry.bbox]).all():
                raise ValueError(f"image {entry.image_id}: a score or box is not finite")
            results[entry.image_id].append(asdict(entry) | {"bbox": [*entry.bbox]})
    except ValueError as error:
        raise UserError(f"{path}: {error}; {expected}") from error
    return results


def _score_file(contender: ContenderAccuracy, directory: Path, images: int) -> ContenderAccuracy:
    from refinemask.evaluation.coco import evaluate_coco

    dataset = read_coco(ANNOTATIONS)
    results = read_detections(directory / contender.file, dataset.images[:images])
    figures = evaluate_coco(dataset, results, iou_types=("segm", "bbox"))
    points = {kind: round(100 * figures[kind]["AP"], 3) for kind in ("segm", "bbox")}
    return replace(contender, mask_ap=points["segm"], box_ap=points["bbox"])


def main(words: list[str] | None = None) -> int:
    """Score a directory of detections, and print the figures as JSON; returns the exit code."""
    return exit_code(lambda: _score_directory(sys.argv[1:] if words is None else words))


def _score_directory(words: list[str]) -> None:
    files = sorted(Path(words[0]).glob("*.json")) if len(words) == 1 else []
    if not files:
        raise UserError("expected one directory with detections of python -m benchmarks.gpu_suite")
    contenders = tuple(ContenderAccuracy(contender=file.stem.replace("-", " "), file=file.name) for file in files)
    print_json(score(AccuracyReport(images=len(read_coco(ANNOTATIONS).images), contenders=contenders), files[0].parent))


if __name__ == "__main__":
    raise SystemExit(main())
