"""A data set of which some images stand several times side by side, and others not at all."""

from collections.abc import Sequence
from typing import Any


def resampled_set(
    content: dict[str, Any], results: Sequence[dict[str, Any]], image_ids: Sequence[int]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The content of an annotation file, and of a results file, of these images, which are numbered from 1 on."""
    images = {image["id"]: image for image in content["images"]}

    def copies(entries: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        return [
            {**entry, "image_id": number}
            for number, image_id in enumerate(image_ids, 1)
            for entry in entries
            if entry["image_id"] == image_id
        ]

    annotations = [{**entry, "id": number} for number, entry in enumerate(copies(content["annotations"]), 1)]
    numbered = [{**images[image_id], "id": number} for number, image_id in enumerate(image_ids, 1)]
    return {**content, "images": numbered, "annotations": annotations}, copies(results)
