"""labelme: one JSON file a picture, with the shapes that were drawn.

A polygon is an outline. A rectangle and a circle stand for one, as in labelme's own exporter. A mask is the PNG within
the file. Points and lines have no area. Shapes of one ``group_id`` and label are one object. Tools that write
labelme's format, such as X-AnyLabeling, are read, too.

``supervision`` reads this format, too. It makes an image-sized mask of every object, of points rounded to whole pixels,
leaves out circles and masks, and takes pictures by the last part of their names alone.
"""

import base64
import binascii
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask
from tqdm import tqdm

from refinemask.data.annotated import name_below
from refinemask.data.findings import Findings
from refinemask.data.formats.content import NO_CLASSES, Content, listed_classes
from refinemask.data.formats.image_files import ImageFiles, files_below, size_or_left_out
from refinemask.data.segmentation import MOST_PIXELS, read_segmentation
from refinemask.files import UserError
from refinemask.foreign import reason
from refinemask.json_files import Id, checked, read_json, short
from refinemask.masks import RLE, segmentation_rle

WHAT = "labelme shapes"
CORNERS = {"polygon", "rotation", "oriented_rectangle"}
"""Kinds of shapes whose points are corners of an outline."""
LEAST_CIRCLE = 12
"""Corners of the smallest circle."""
LARGEST_RADIUS = 1e6
"""Pixels of the largest circle, far beyond any picture."""

Group = int | str | None


@dataclass(slots=True)
class _File:
    shapes: list[Any]
    imagePath: str  # noqa: N815
    imageHeight: Id | None = None  # noqa: N815
    imageWidth: Id | None = None  # noqa: N815


@dataclass(slots=True)
class _Shape:
    label: str | int | float | bool
    points: list[tuple[float, float]]
    shape_type: str = "polygon"
    group_id: Group = None
    mask: str | None = None


def is_labelme(content: Any) -> bool:
    """Whether the content of a JSON file is labelme's."""
    return isinstance(content, dict) and "shapes" in content


def read_labelme(path: Path, images: Path | None, findings: Findings) -> Content:
    """Read a labelme file, or all of a folder.

    Args:
        path: the file, or a folder that holds such files, also in folders below it.
        images: folder that file names begin from. If None, pictures are found by the names in the files, beside the
            folder of the annotations at most, and file names begin from the folder that has them all.
        findings: where oddities are counted.

    Raises:
        UserError: no file can be read, or pictures lie elsewhere.
    """
    above = path if path.is_dir() else path.parent
    files = list(files_below(path, {".json"})) if path.is_dir() else [path]
    read = [(file, _read(file, findings)) for file in tqdm(files, desc=WHAT, disable=None)]
    found = [(file, drawn) for file, drawn in read if drawn is not None]
    pictures = _pictures(found, above, images)
    folder = images or _common_folder(above, [picture for picture in pictures if picture is not None])
    content = Content(WHAT, folder, findings)
    for (file, drawn), picture in zip(found, pictures, strict=True):
        size = _size(file, drawn, picture, findings)
        if size is not None:
            name = name_below(picture, folder) if picture is not None else None
            image_id = content.add_image(name or _named(file, drawn).name or file.stem, size)
            _add_objects(content, image_id, drawn.shapes, file)
    content.number_classes(listed_classes(above))
    return content


def _read(file: Path, findings: Findings) -> _File | None:
    try:
        content = read_json(file, "labelme's shapes")
        if not is_labelme(content):
            coco = isinstance(content, dict) and {"images", "annotations"} <= content.keys()
            raise ValueError(f"has no 'shapes'{'; for a COCO file, give the file and not its folder' if coco else ''}")
        return checked(content, _File)
    except (UserError, ValueError) as error:
        found = str(error) if isinstance(error, UserError) else f"{file}: {error}"
        findings.left_out("files that are not labelme's", found)
        return None


def _named(file: Path, drawn: _File) -> Path:
    """Where the picture should be by its name, which may be of another machine."""
    return file.parent / drawn.imagePath.replace("\\", "/")


def _pictures(found: list[tuple[Path, _File]], above: Path, images: Path | None) -> list[Path | None]:
    """The picture of each file: where its name leads if that is allowed, or else by its name in the folder."""
    allowed = images or Path(os.path.abspath(above)).parent
    known: ImageFiles | None = None
    pictures: list[Path | None] = []
    for file, drawn in found:
        picture: Path | None = _named(file, drawn)
        if name_below(_named(file, drawn), allowed) is None or not os.path.isfile(_named(file, drawn)):
            known = known or ImageFiles(images or above)
            beside = os.path.relpath(file.with_suffix(""), above)
            stem = os.path.splitext(_named(file, drawn).name)[0]
            picture = known.find(os.path.join(os.path.dirname(beside), stem)) or known.find(beside)
        pictures.append(picture)
    return pictures


def _common_folder(above: Path, pictures: list[Path]) -> Path:
    places = {os.path.dirname(os.path.abspath(picture)) for picture in pictures}
    return Path(os.path.commonpath(places)) if places else above


def _size(file: Path, drawn: _File, picture: Path | None, findings: Findings) -> tuple[int, int] | None:
    """Height and width of the picture as it was annotated, or else as its file says."""
    height, width = drawn.imageHeight or 0, drawn.imageWidth or 0
    if min(height, width) > 0 and height * width <= MOST_PIXELS:
        return height, width
    if picture is None:
        findings.left_out("files without a size whose picture is missing", str(file))
        return None
    findings.mended("files without a size (it is that of the picture)", str(file))
    return size_or_left_out(picture, findings)


def _add_objects(content: Content, image_id: int, shapes: Iterable[Any], file: Path) -> None:
    image, findings = content.images[image_id - 1], content.findings
    objects: dict[Any, tuple[str, str, list[Any]]] = {}
    for position, entry in enumerate(shapes):
        where = f"{file} shape {position}"
        try:
            shape = checked(entry, _Shape)
            if str(shape.label) in NO_CLASSES:
                continue
            region = _region(shape, image["height"], image["width"], findings, where)
        except ValueError as error:
            content.leave_out(image_id, "malformed shapes", f"{where}: {error}")
            continue
        if region is None:
            content.incomplete.add(image_id)
        else:
            key = position if shape.group_id is None else (str(shape.label), str(shape.group_id))
            objects.setdefault(key, (str(shape.label), where, []))[2].append(region)
    for label, where, regions in objects.values():
        try:
            together = _together(regions, image["height"], image["width"])
        except ValueError as error:
            content.leave_out(image_id, "objects with a malformed outline", f"{where}: {error}")
        else:
            content.add_object(image_id, label, together, where)


def _region(shape: _Shape, height: int, width: int, findings: Findings, where: str) -> list[float] | RLE | None:
    """A polygon or the run lengths of a shape; None, which is counted, if it has no area.

    Raises:
        ValueError: it is malformed.
    """
    points, kind = shape.points, shape.shape_type
    if not all(math.isfinite(number) for point in points for number in point):
        raise ValueError("a point is not finite")
    flat = [number for point in points for number in point]
    if kind in ("mask", "circle", "rectangle") and len(points) != 2 and (kind, len(points)) != ("rectangle", 4):
        raise ValueError(f"a {kind} of {len(points)} points, expected 2")
    if kind == "mask":
        return _mask(shape, height, width)
    if kind == "circle":
        x, y, x_edge, y_edge = flat
        return _circle(x, y, math.hypot(x_edge - x, y_edge - y))
    if kind == "rectangle":
        findings.mended("rectangles (taken as the outlines of what they hold)", where)
        x1, y1, x2, y2 = flat[:4]
        return flat if len(points) == 4 else [x1, y1, x2, y1, x2, y2, x1, y2]
    if kind in CORNERS and len(points) >= 3:
        return flat
    what = "polygons of fewer than three points" if kind in CORNERS else f"shapes without an area ({short(kind)})"
    findings.left_out(what, where)
    return None


def _circle(x: float, y: float, radius: float) -> list[float]:
    """A circle as labelme's exporter draws it: its outline is no farther than a pixel from the circle.

    Raises:
        ValueError: it is larger than any picture.
    """
    if radius > LARGEST_RADIUS:
        raise ValueError(f"a circle with a radius of {radius:g} pixels, expected at most {LARGEST_RADIUS:g}")
    corners = max(int(math.pi / math.acos(1 - 1 / radius)), LEAST_CIRCLE) if radius > 1 else LEAST_CIRCLE
    angles = np.arange(corners) * (2 * math.pi / corners)
    return np.stack([x + radius * np.sin(angles), y + radius * np.cos(angles)], axis=1).ravel().tolist()


def _mask(shape: _Shape, height: int, width: int) -> RLE:
    (left, top), (right, bottom) = ((int(x), int(y)) for x, y in shape.points)
    try:
        with Image.open(BytesIO(base64.b64decode(shape.mask or ""))) as picture:
            pixels = np.asarray(picture) if picture.mode in ("1", "L", "P") else None
    except binascii.Error as error:
        raise ValueError(f"its mask is not in base 64: {error}") from error
    except Exception as error:  # Pillow's readers raise a dozen kinds.
        raise ValueError(f"its mask cannot be read: {reason(error)}") from error
    if pixels is None or pixels.shape != (bottom - top + 1, right - left + 1):
        found = "of several channels" if pixels is None else f"{pixels.shape[0]}x{pixels.shape[1]}"
        raise ValueError(f"its mask is {found}, but its points span {bottom - top + 1}x{right - left + 1}")
    if min(left, top) < 0 or bottom >= height or right >= width:
        raise ValueError(f"its mask reaches beyond the picture of {height}x{width}")
    whole = np.zeros((height, width), np.uint8, order="F")
    whole[top : bottom + 1, left : right + 1] = pixels != 0
    return coco_mask.encode(whole)


def _together(regions: list[list[float] | RLE], height: int, width: int) -> Any:
    """The segmentation of an object: its polygons, or run lengths where one of its shapes is a mask.

    Raises:
        ValueError: an outline is malformed.
    """
    if all(isinstance(region, list) for region in regions):
        return regions
    parts = [read_segmentation([region] if isinstance(region, list) else region, height, width) for region in regions]
    return coco_mask.merge([segmentation_rle(part, height, width) for part in parts if part is not None])
