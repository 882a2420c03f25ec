"""Average precision of a whole validation set: ours against pycocotools on the same results in memory.

python -m benchmarks.evaluation
"""

import time
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from io import StringIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from benchmarks.harness.provenance import Provenance, provenance
from benchmarks.harness.report_file import print_json
from refinemask.command import execute
from refinemask.data.coco import CocoDataset, parse_coco
from refinemask.evaluation.coco import evaluate_coco
from refinemask.files import FailedCheckError

HEIGHT, WIDTH = 480, 640
CATEGORIES = np.arange(1, 81)
SHARES = CATEGORIES**-1.2 / (CATEGORIES**-1.2).sum()
"""Share of the objects by category; the first has 28 %, as COCO's persons have."""
CATEGORIES_PER_IMAGE = 3
CORNERS = 24
LARGEST_DIFFERENCE = 1e-6
"""Largest difference of a figure that the order of sums explains."""
Results = dict[int, list[dict[str, Any]]]


@dataclass(frozen=True)
class Args:
    """Time the evaluation of synthetic results of the size of COCO val2017."""

    images: int = 5000
    """Number of images."""
    objects: int = 7
    """Objects per image."""
    detections: int = 100
    """Detections per image: a third overlap an object of their category, a third only have a category of the image."""
    iou_type: Literal["segm", "bbox"] = "segm"
    """Overlap of masks or of boxes."""
    seed: int = 0
    """Seed of the results."""


@dataclass(frozen=True, kw_only=True)
class EvaluationReport:
    """Both evaluations of the same results."""

    provenance: Provenance
    images: int
    objects: int
    detections: int
    iou_type: str
    seed: int
    processor_seconds: dict[str, float]
    """CPU seconds of all threads by route, ``pycocotools`` and ``ours``."""
    ratio: float
    """pycocotools' time over ours."""
    AP: float
    """Average precision of the results."""
    largest_difference: float
    """Largest difference between two average precisions of the same name."""


def example(args: Args) -> tuple[dict[str, Any], Results]:
    """A COCO annotation file's content, and results by image: ellipses, log-uniform from 12 to 300 pixels."""
    rng = np.random.default_rng(args.seed)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    results: Results = {}
    for image_id in range(1, args.images + 1):
        images.append({"id": image_id, "file_name": f"{image_id}.jpg", "height": HEIGHT, "width": WIDTH})
        present = rng.choice(CATEGORIES, CATEGORIES_PER_IMAGE, replace=False, p=SHARES)
        boxes, categories = _boxes(rng, args.objects), rng.choice(present, args.objects)
        for box, category, polygon in zip(boxes.tolist(), categories.tolist(), _ellipses(boxes), strict=True):
            entry = {"id": len(annotations) + 1, "image_id": image_id, "category_id": category, "iscrowd": 0}
            area = box[2] * box[3] * np.pi / 4
            annotations.append(entry | {"bbox": box, "area": area, "segmentation": [polygon]})
        near = rng.integers(args.objects, size=args.detections)
        moved, labels = boxes[near] * rng.normal(1, 0.03, (args.detections, 4)), categories[near]
        third = args.detections // 3
        moved[third:] = _boxes(rng, args.detections - third)
        labels[2 * third :] = rng.choice(CATEGORIES, args.detections - 2 * third, p=SHARES)
        results[image_id] = [
            {"image_id": image_id, "category_id": label, "score": score, "bbox": box}
            | {"segmentation": {"size": rle["size"], "counts": rle["counts"].decode()}}
            for label, score, box, rle in zip(
                labels.tolist(),
                rng.random(args.detections).tolist(),
                moved.tolist(),
                coco_mask.frPyObjects(_ellipses(moved), HEIGHT, WIDTH),
                strict=True,
            )
        ]
    names = [{"id": category, "name": f"thing {category}"} for category in CATEGORIES.tolist()]
    return {"images": images, "annotations": annotations, "categories": names}, results


def _boxes(rng: np.random.Generator, count: int) -> np.ndarray:
    size = np.exp(rng.uniform(np.log(12), np.log(300), (count, 2)))
    return np.concatenate([rng.uniform(0, 1, (count, 2)) * ([WIDTH, HEIGHT] - size), size], axis=1)


def _ellipses(boxes: np.ndarray) -> list[list[float]]:
    angles = np.arange(CORNERS) / CORNERS * 2 * np.pi
    unit = np.stack([np.cos(angles), np.sin(angles)], axis=1) / 2 + 0.5
    return (boxes[:, None, :2] + unit * boxes[:, None, 2:]).reshape(len(boxes), -1).tolist()


def ours(dataset: CocoDataset, results: Results, args: Args) -> list[float]:
    """AP, AP50, AP75, APs, APm, APl."""
    return list(evaluate_coco(dataset, results, (args.iou_type,), args.detections)[args.iou_type].values())


def usual(coco: COCO, results: Results, args: Args) -> list[float]:
    """The same figures by pycocotools."""
    entries = [dict(entry) for group in results.values() for entry in group]
    evaluation = COCOeval(coco, coco.loadRes(entries), args.iou_type)
    evaluation.params.maxDets = [1, 10, args.detections]
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    # It reads the first figure at 100 detections, whatever the limit.
    everything = evaluation.eval["precision"][..., 0, -1]
    return [everything[everything > -1].mean(), *evaluation.stats[1:6]]


def timed(route: Callable[..., list[float]], *arguments: Any) -> tuple[float, list[float]]:
    """Processor seconds of all threads, and the figures; what it prints is dropped."""
    with redirect_stdout(StringIO()):
        start = time.process_time()
        figures = route(*arguments)
        return time.process_time() - start, figures


def main(args: Args | None = None) -> int:
    """Print both times and their ratio as JSON; exit code 1 if a figure differs by more than 1e-6."""
    return execute(Args, _compare_routes, args, description=__doc__)


def _compare_routes(args: Args) -> None:
    content, results = example(args)
    our_seconds, our_figures = timed(ours, parse_coco(Path("synthetic"), content), results, args)
    coco = COCO()
    coco.dataset = content
    with redirect_stdout(StringIO()):
        coco.createIndex()
    usual_seconds, usual_figures = timed(usual, coco, results, args)
    report = EvaluationReport(
        provenance=provenance(),
        **asdict(args),
        processor_seconds={"pycocotools": round(usual_seconds, 2), "ours": round(our_seconds, 2)},
        ratio=round(usual_seconds / our_seconds, 2),
        AP=our_figures[0],
        largest_difference=float(np.abs(np.subtract(our_figures, usual_figures)).max()),
    )
    print_json(report)
    if report.largest_difference > LARGEST_DIFFERENCE:
        raise FailedCheckError(f"the figures differ: {our_figures} against {usual_figures}")


if __name__ == "__main__":
    raise SystemExit(main())
