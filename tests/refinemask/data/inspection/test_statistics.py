"""The numbers of a data set, against those that plain Python counts in the file."""

import json
import math
from itertools import combinations, pairwise
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from refinemask.bundled import NUCLEI
from refinemask.data.coco import read_coco
from refinemask.data.inspection.image_files import ImageFile
from refinemask.data.inspection.losses import find_reasons
from refinemask.data.inspection.run import PUBLISHED
from refinemask.data.inspection.statistics import COUNT_EDGES, SIDE_EDGES, ClassCount, Statistics, compute_statistics
from tests.support.own_data import square, write_annotations

Box = list[float]


def statistics_of(path: Path) -> Statistics:
    dataset = read_coco(path)
    reasons = find_reasons(dataset, [ImageFile(image) for image in dataset.images])
    return compute_statistics(dataset, reasons, PUBLISHED)


def overlap(first: Box, second: Box) -> float:
    width = min(first[0] + first[2], second[0] + second[2]) - max(first[0], second[0])
    height = min(first[1] + first[3], second[1] + second[3]) - max(first[1], second[1])
    shared = max(0, width) * max(0, height)
    return shared / (first[2] * first[3] + second[2] * second[3] - shared)


def overlapping(groups: list[list[dict[str, Any]]]) -> int:
    found = set()
    for group in groups:
        for first, second in combinations(group, 2):
            if overlap(first["bbox"], second["bbox"]) > 0.5:
                found |= {first["id"], second["id"]}
    return len(found)


@pytest.mark.parametrize("split", ["train", "val"])
def test_the_bundled_nuclei_have_the_numbers_of_their_file(split: str) -> None:
    path = NUCLEI / "annotations" / f"instances_{split}.json"
    content = json.loads(path.read_text())
    objects, number = content["annotations"], len(content["images"])
    groups = [[each for each in objects if each["image_id"] == image["id"]] for image in content["images"]]
    counts = [len(group) for group in groups]
    # All images have 256 x 256 pixels and become 800 x 800, where the smallest anchor has 32.
    sides = [math.sqrt(each["bbox"][2] * each["bbox"][3]) * 800 / 256 for each in objects]
    found = statistics_of(path)
    assert (found.images, found.objects, found.trainable, found.crowds) == (number, len(objects), len(objects), 0)
    assert found.classes == (ClassCount("nucleus", len(objects), len(objects), number),)
    assert vars(found.objects_per_image) == {
        "smallest": min(counts), "median": median(counts), "largest": max(counts)
    }  # fmt: skip
    assert (found.empty_images, found.untrainable_images, found.image_sizes) == (0, 0, 1)
    assert (found.heights.smallest, found.widths.largest) == (256, 256)
    areas = [each["area"] for each in objects]
    assert found.sizes == {
        "small": sum(area < 32**2 for area in areas),
        "medium": sum(32**2 <= area < 96**2 for area in areas),
        "large": sum(area >= 96**2 for area in areas),
    }
    assert found.smallest_anchor == 32
    assert found.under_half_anchor == sum(side < 16 for side in sides)
    for bars, edges, numbers in ((found.sides, SIDE_EDGES, sides), (found.counts, COUNT_EDGES, counts)):
        limits = pairwise([0, *edges, math.inf])
        assert list(bars) == [sum(low <= each < high for each in numbers) for low, high in limits]
    assert found.overlapping == found.overlapping_same_class == overlapping(groups)
    assert found.most_objects == max(counts)
    assert found.images_over_coco == found.images_over_detections == sum(count > 100 for count in counts)
    assert found.objects_over_detections == sum(max(0, count - 100) for count in counts)
    assert found.twice == 0


def test_overlaps_within_a_class_are_told_from_all(tmp_path: Path) -> None:
    objects = [square(0), square(1), square(2, category_id=2), square(50, 40, category_id=2)]
    path = write_annotations(tmp_path / "a.json", {"a.png": objects, "b.png": [square(0)], "c.png": []})
    found = statistics_of(path)
    assert (found.overlapping, found.overlapping_same_class) == (3, 2)
    assert found.empty_images == 1


def test_boxes_of_full_images_are_compared_in_parts(tmp_path: Path) -> None:
    pairs = [square(30 * (i // 2), i % 2, 20) for i in range(1200)]
    found = statistics_of(write_annotations(tmp_path / "a.json", {"a.png": pairs}, size=(64, 20_000)))
    assert found.overlapping == found.overlapping_same_class == 1200


def test_lost_objects_count_for_their_class_alone(tmp_path: Path) -> None:
    objects = {"a.png": [square(iscrowd=1), square(30)], "b.png": [square(area=0)]}
    found = statistics_of(write_annotations(tmp_path / "a.json", objects))
    assert (found.objects, found.trainable, found.crowds, found.untrainable_images) == (3, 1, 1, 1)
    assert found.classes == (ClassCount("cat", 3, 1, 1), ClassCount("dog", 0, 0, 0))
    assert sum(found.sizes.values()) == sum(found.sides) == 1


def test_an_image_whose_objects_the_reader_left_out_is_not_empty(tmp_path: Path) -> None:
    objects = {"a.png": [square(segmentation=[])], "b.png": [], "c.png": [square()]}
    found = statistics_of(write_annotations(tmp_path / "a.json", objects))
    assert (found.empty_images, found.untrainable_images) == (1, 1)


def test_a_file_without_images_has_zeros(tmp_path: Path) -> None:
    found = statistics_of(write_annotations(tmp_path / "a.json", {}))
    assert (found.images, found.objects, found.most_objects, found.overlapping, found.image_sizes) == (0, 0, 0, 0, 0)
    assert found.objects_per_image.largest == 0


def test_the_proposed_scale_reaches_most_objects(tmp_path: Path) -> None:
    # 64 x 80 pixels become 800 x 1000.
    objects = {"a.png": [square(0, 0, side) for side in (0.9, *[1.2] * 59)]}
    found = statistics_of(write_annotations(tmp_path / "a.json", objects))
    assert found.under_half_anchor == found.trainable
    half = 4 * found.proposed_anchor_scale / 2
    assert half <= 1.2 * 800 / 64 < half + 1
