"""What a reader of another format collects: the content of a COCO file."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pycocotools import mask as coco_mask

from refinemask.data.findings import Findings
from refinemask.data.segmentation import Segmentation, read_segmentation
from refinemask.files import UserError
from refinemask.masks import segmentation_rle

NAME_LISTS = ("classes.txt", "labels.txt", "obj.names")
"""Files, one class a line, that tools write beside annotations."""
NO_CLASSES = {"__ignore__", "_background_"}
"""What labelme's lists name besides classes."""
LEVELS_UP = 3
"""Folders above the annotations in which the names of the classes are looked for."""


@dataclass
class Content:
    """The content of a COCO file while it grows."""

    what: str
    """What the annotations were recognised as, such as ``labelme``."""
    folder: Path
    """The folder that the file names of the images begin from."""
    findings: Findings
    categories: dict[int, str] = field(default_factory=dict)
    """Class names by category id."""
    images: list[dict[str, Any]] = field(default_factory=list)
    annotations: list[dict[str, Any]] = field(default_factory=list)
    incomplete: set[int] = field(default_factory=set)
    """Ids of the images of which an object was left out, so that one without objects may still show some."""

    def add_image(self, file_name: str, size: tuple[int, int]) -> int:
        """Add an image of that height and width in pixels; returns its id."""
        image_id = len(self.images) + 1
        self.images.append({"id": image_id, "file_name": file_name, "height": size[0], "width": size[1]})
        return image_id

    def leave_out(self, image_id: int, what: str, entry: str) -> None:
        """Count an object of an image as left out."""
        self.findings.left_out(what, entry)
        self.incomplete.add(image_id)

    def add_object(self, image_id: int, category: int | str, segmentation: Any, entry: str) -> None:
        """Add an object of an image, or count it as left out.

        Args:
            image_id: what :meth:`add_image` returned.
            category: its category id, or its class name if :meth:`number_classes` is called at the end.
            segmentation: its polygons or run lengths.
            entry: what findings call it.
        """
        image = self.images[image_id - 1]
        height, width = image["height"], image["width"]
        try:
            checked = read_segmentation(segmentation, height, width)
        except ValueError as error:
            self.leave_out(image_id, "objects with a malformed outline", f"{entry}: {error}")
            return
        if checked is None:
            self.leave_out(image_id, "objects without an outline of at least three points", entry)
            return
        # pycocotools takes a match with annotation 0 for no match, so the numbers begin at 1.
        ids = {"id": len(self.annotations) + 1, "image_id": image_id, "category_id": category}
        self.annotations.append(ids | _region(checked, height, width))

    def number_classes(self, listed: list[str] | None) -> None:
        """Give the classes of objects that were added by name their ids, from 1: in the listed order, or sorted.

        Objects of a class that a list lacks are left out.
        """
        names = listed if listed is not None else sorted({entry["category_id"] for entry in self.annotations})
        ids = {name: number for number, name in enumerate(names, 1)}
        self.categories = {number: name for name, number in ids.items()}
        kept: list[dict[str, Any]] = []
        for entry in self.annotations:
            name = entry["category_id"]
            if name in ids:
                kept.append(entry | {"id": len(kept) + 1, "category_id": ids[name]})
            else:
                image = self.images[entry["image_id"] - 1]["file_name"]
                where = f"{name!r} in {image}"
                self.leave_out(entry["image_id"], "objects of a class that the list of classes lacks", where)
        self.annotations = kept

    def coco(self) -> dict[str, Any]:
        """The content as a COCO file has it."""
        categories = [{"id": number, "name": name} for number, name in self.categories.items()]
        return {"images": self.images, "annotations": self.annotations, "categories": categories}


def _region(segmentation: Segmentation, height: int, width: int) -> dict[str, Any]:
    """The fields of an annotation that say where it is; the area is that of the mask."""
    rle = segmentation_rle(segmentation, height, width)
    if isinstance(segmentation, list):
        xs = [edge for polygon in segmentation for edge in (min(polygon[::2]), max(polygon[::2]))]
        ys = [edge for polygon in segmentation for edge in (min(polygon[1::2]), max(polygon[1::2]))]
        left, right = (min(max(edge, 0), width) for edge in (min(xs), max(xs)))
        top, bottom = (min(max(edge, 0), height) for edge in (min(ys), max(ys)))
        box = [left, top, right - left, bottom - top]
    else:
        box = coco_mask.toBbox(rle).tolist()
    return {"segmentation": segmentation, "bbox": box, "area": int(coco_mask.area(rle)), "iscrowd": 0}


def listed_classes(folder: Path) -> list[str] | None:
    """The names of a list of classes in ``folder`` or up to three folders above; None if there is none.

    Raises:
        UserError: a list cannot be read.
    """
    folder = Path(os.path.abspath(folder))
    for above in (folder, *list(folder.parents)[:LEVELS_UP]):
        for path in (above / name for name in NAME_LISTS):
            if path.is_file():
                try:
                    names = [line.strip() for line in path.read_text("utf-8-sig").splitlines()]
                except (OSError, ValueError) as error:
                    raise UserError(f"{path}: cannot be read as a list of classes: {error}") from error
                return [name for name in dict.fromkeys(names) if name and name not in NO_CLASSES]
    return None


def chosen_split(path: Path, split: str | None, known: Mapping[str, Any]) -> str:
    """The split that was asked for, or the only one that there is.

    Raises:
        UserError: there is no such split, or there are several and none was named.
    """
    if split is None and len(known) == 1:
        return next(iter(known))
    if not known:
        raise UserError(f"{path}: has no split; give it without a colon and a name behind it")
    if split is None or split not in known:
        none = "" if split is None else f", none called {split!r}"
        example = f"; name one behind a colon: {path}:{next(iter(known))}"
        raise UserError(f"{path}: has the splits {', '.join(known)}{none}{example}")
    return split
