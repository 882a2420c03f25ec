"""The content of COCO results files."""

from collections.abc import Iterable
from typing import Any

from refinemask.data.coco import CocoDataset


def group_by_image(dataset: CocoDataset, results: Iterable[dict[str, Any]]) -> dict[int, list[dict[str, Any]]]:
    """A COCO results list by image id; every image of the data set has an entry."""
    grouped: dict[int, list[dict[str, Any]]] = {image.id: [] for image in dataset.images}
    for result in results:
        grouped.setdefault(result["image_id"], []).append(result)
    return grouped
