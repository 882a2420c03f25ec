"""The shards of a finished job as one COCO results file. Imports no PyTorch."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from refinemask.batch.job import Job
from refinemask.batch.manifest import tables
from refinemask.batch.storage import Folder
from refinemask.files import atomic_write

COLUMNS = ["index", "image", "height", "width", "boxes", "scores", "category_ids", "counts", "error"]


def write_coco(folder: Folder, job: Job, path: Path) -> int:
    """Write the detections of all images, in their order, one shard after the other.

    ``image_id`` is the image's number from 1, of all that were given, and ``file_name`` its reference. The file is the
    same whatever the shards' size, and whoever computed them.

    Args:
        folder: the job's folder.
        job: the job, which is finished.
        path: the file.

    Returns:
        The number of detections.

    Raises:
        UserError: a shard is missing or damaged, or the file cannot be written.
    """
    count = 0
    with atomic_write(path) as temporary, open(temporary, "w", encoding="ascii") as file:
        file.write("[")
        for table in tables(folder, job, range(job.pieces)):
            for row in table.select(COLUMNS).to_pylist():
                for entry in _entries(row):
                    file.write((",\n" if count else "") + json.dumps(entry))
                    count += 1
        file.write("]\n")
    return count


def _entries(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The entries of an image, none if it failed."""
    named = {"image_id": row["index"] + 1, "file_name": row["image"]}
    size = [row["height"], row["width"]]
    found = zip(row["category_ids"], row["boxes"], row["scores"], row["counts"], strict=True)
    for category_id, (x1, y1, x2, y2), score, counts in found:
        yield named | {
            "category_id": category_id,
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "score": score,
            "segmentation": {"size": size, "counts": counts},
        }
