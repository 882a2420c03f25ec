"""A data set as the text of a COCO annotation file."""

import json
from typing import Any

from refinemask.data.coco import CocoDataset


def dataset_text(dataset: CocoDataset) -> str:
    """The text of the COCO file of a data set; if objects share an id, all are numbered anew, from 1."""
    objects = [annotation for group in dataset.annotations.values() for annotation in group]
    ids = [annotation.id for annotation in objects]
    if len(set(ids)) < len(ids):
        ids = list(range(1, len(ids) + 1))
    images = [
        {"id": image.id, "file_name": image.file_name, "height": image.height, "width": image.width}
        for image in dataset.images
    ]
    annotations: list[dict[str, Any]] = [
        {
            "id": number,
            "image_id": annotation.image_id,
            "category_id": annotation.category_id,
            "bbox": annotation.bbox,
            "area": annotation.area,
            "segmentation": annotation.segmentation,
            "iscrowd": int(annotation.iscrowd),
        }
        for number, annotation in zip(ids, objects, strict=True)
    ]
    categories = [{"id": category, "name": name} for category, name in dataset.categories.items()]
    content = {"images": images, "annotations": annotations, "categories": categories}
    return json.dumps(content, default=bytes.decode)
