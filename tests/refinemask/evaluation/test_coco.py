"""AP equals pycocotools and, for boundaries, faster-coco-eval's own evaluator."""

import contextlib
import io
import json
import tracemalloc
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faster_coco_eval import COCO, COCOeval_faster
from pycocotools import coco, cocoeval
from pycocotools import mask as coco_mask

from refinemask.data.coco import CocoDataset, read_coco
from refinemask.evaluation.coco import IoUType, default_max_detections, evaluate_coco
from refinemask.evaluation.predictions import Result
from refinemask.masks import decode, segmentation_rle
from tests.support.coco_results import group_by_image
from tests.support.tolerances import TOLERANCES

DEMO = Path(__file__).resolve().parents[3] / "demo"
PHOTOS = DEMO / "photos" / "annotations" / "instances_val.json"
NUCLEI = DEMO / "nuclei" / "annotations" / "instances_val.json"
EQUAL = TOLERANCES["average precision"].absolute


def disturbed(dataset: CocoDataset, seed: int, copies: int = 2) -> list[Result]:
    """Objects shifted by a few pixels, some twice, some of another category, some not at all; scores tie."""
    rng = np.random.default_rng(seed)
    results: list[Result] = []
    for image in dataset.images:
        for annotation in dataset.annotations[image.id]:
            rle = segmentation_rle(annotation.segmentation, image.height, image.width)
            [mask] = decode([rle], image.height, image.width)
            for _ in range(rng.integers(0, copies + 1)):
                reach = 1 + int(annotation.area**0.5 / 8)
                shifted = np.roll(mask, rng.integers(-reach, reach + 1, 2), (0, 1))
                found = coco_mask.encode(np.asfortranarray(shifted, np.uint8))
                category = annotation.category_id if rng.random() < 0.9 else rng.choice(dataset.category_ids)
                results.append(
                    {
                        "image_id": image.id,
                        "category_id": int(category),
                        "bbox": coco_mask.toBbox(found).tolist(),
                        "score": round(rng.random(), 2),
                        "segmentation": {"size": found["size"], "counts": found["counts"].decode()},
                    }
                )
    return results


def reference(path: Path, results: Sequence[Result], iou_type: str, limit: int) -> list[float]:
    """All figures by pycocotools, or by faster-coco-eval, which has boundaries."""
    api: Any = COCO if iou_type == "boundary" else coco.COCO
    evaluator: Any = COCOeval_faster if iou_type == "boundary" else cocoeval.COCOeval
    with contextlib.redirect_stdout(io.StringIO()):
        truth = api(str(path))
        evaluation = evaluator(truth, truth.loadRes(json.loads(json.dumps(list(results)))), iou_type)
        evaluation.params.maxDets = numbers = sorted({min(most, limit) for most in (1, 10, limit)})
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][..., -1]
    parts = [precision[..., 0], precision[0, ..., 0], precision[5, ..., 0], *(precision[..., a] for a in (1, 2, 3))]
    recall = evaluation.eval["recall"]
    parts += [recall[:, :, 0, numbers.index(min(most, limit))] for most in (1, 10, limit)]
    parts += [recall[:, :, area, -1] for area in (1, 2, 3)]
    return [float(part[part > -1].mean()) if (part > -1).any() else -1.0 for part in parts]


def shortened(path: Path, images: int, target: Path) -> Path:
    """The annotations of the first images only."""
    content = json.loads(path.read_text())
    content["images"] = sorted(content["images"], key=lambda image: image["id"])[:images]
    kept = {image["id"] for image in content["images"]}
    content["annotations"] = [a for a in content["annotations"] if a["image_id"] in kept]
    target.write_text(json.dumps(content))
    return target


@pytest.mark.parametrize("iou_type", ["bbox", "segm", "boundary"])
@pytest.mark.parametrize(("path", "limit"), [(PHOTOS, 100), (PHOTOS, 1), (NUCLEI, 101), (NUCLEI, 10)])
def test_equals_the_reference(tmp_path: Path, path: Path, limit: int, iou_type: IoUType) -> None:
    path = shortened(path, 12, tmp_path / "annotations.json")
    dataset = read_coco(path)
    results = disturbed(dataset, seed=limit)
    ours = evaluate_coco(dataset, group_by_image(dataset, results), (iou_type,), limit)[iou_type]
    assert list(ours) == ["AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR", "ARs", "ARm", "ARl"]
    assert 0.05 < ours["AP"] < 0.95
    np.testing.assert_allclose(list(ours.values()), reference(path, results, iou_type, limit), rtol=0, atol=EQUAL)


def test_objects_as_detections_are_perfect() -> None:
    dataset = read_coco(PHOTOS)
    results = [
        {
            "image_id": image.id,
            "category_id": a.category_id,
            "bbox": list(a.bbox),
            "score": 0.5,
            "segmentation": segmentation_rle(a.segmentation, image.height, image.width),
        }
        for image in dataset.images
        for a in dataset.annotations[image.id]
        if not a.iscrowd
    ]
    for figures in evaluate_coco(dataset, group_by_image(dataset, results)).values():
        all_found = {name: value for name, value in figures.items() if name not in ("AR1", "AR10")}
        np.testing.assert_allclose(list(all_found.values()), 1, rtol=0, atol=EQUAL)


def test_no_detections_is_zero_and_no_objects_is_undefined() -> None:
    dataset = read_coco(NUCLEI)
    figures = evaluate_coco(dataset, group_by_image(dataset, []))
    for iou_type in ("bbox", "segm", "boundary"):
        # None of the nuclei is large.
        missing = {name for name, value in figures[iou_type].items() if value == -1.0}
        assert missing == {"APl", "ARl"}
        assert {value for name, value in figures[iou_type].items() if name not in missing} == {0.0}
    empty = replace(dataset, annotations={image.id: () for image in dataset.images})
    found = disturbed(dataset, seed=0)[:50]
    assert set(evaluate_coco(empty, group_by_image(dataset, found))["segm"].values()) == {-1.0}
    assert set(evaluate_coco(dataset, {})["bbox"].values()) == {-1.0}


def test_images_absent_from_the_results_are_not_evaluated() -> None:
    dataset = read_coco(NUCLEI)
    results = group_by_image(dataset, disturbed(dataset, seed=3))
    some = {image.id: results[image.id] for image in dataset.images[:5]}
    assert evaluate_coco(dataset, some) == evaluate_coco(replace(dataset, images=dataset.images[:5]), results)
    assert evaluate_coco(dataset, some)["bbox"]["AP"] > 0.1


def test_an_object_with_id_zero_counts() -> None:
    dataset = read_coco(PHOTOS)
    results = group_by_image(dataset, disturbed(dataset, seed=1))
    first = dataset.images[0].id
    numbered = tuple(replace(a, id=number) for number, a in enumerate(dataset.annotations[first]))
    assert evaluate_coco(
        replace(dataset, annotations={**dataset.annotations, first: numbered}), results, ("segm",)
    ) == evaluate_coco(dataset, results, ("segm",))


def test_cap_on_detections_follows_the_most_crowded_image() -> None:
    assert default_max_detections(read_coco(PHOTOS)) == 100
    assert default_max_detections(read_coco(NUCLEI)) == 101


def test_memory_does_not_grow_with_the_images_masks() -> None:
    dataset = read_coco(NUCLEI)
    once = group_by_image(dataset, disturbed(dataset, seed=2, copies=1))

    def peak(repeats: int) -> tuple[int, int]:
        ids = range(repeats * len(dataset.images))
        source = [dataset.images[i % len(dataset.images)] for i in ids]
        many = replace(
            dataset,
            images=tuple(replace(image, id=i) for i, image in zip(ids, source, strict=True)),
            annotations={i: dataset.annotations[image.id] for i, image in zip(ids, source, strict=True)},
        )
        tracemalloc.start()
        evaluate_coco(many, {i: once[image.id] for i, image in zip(ids, source, strict=True)}, ("segm",))
        return len(ids), tracemalloc.get_traced_memory()[1]

    (few, small), (many, large) = peak(1), peak(6)
    tracemalloc.stop()
    # A mask of 256 × 256 pixels and a hundred run-length strings are far more than this.
    assert (large - small) / (many - few) < 8192
