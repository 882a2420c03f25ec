"""Pascal VOC with instance masks: ``SegmentationObject/a.png`` tells the objects of ``JPEGImages/a.jpg`` apart.

A value of it is an object, 0 is background, and 255 is the void between objects. The class of an object is the value
that ``SegmentationClass/a.png`` has at most of its pixels, or the name of the object at the place of its value in
``Annotations/a.xml``. Classes are VOC's 20, those of a ``labelmap.txt`` as CVAT and Datumaro write it, or those of the
XML files. Pictures in colours instead of a palette are read by their colours.

``supervision`` reads boxes and polygons of the XML files, but no instance masks.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from refinemask.data.annotated import locate
from refinemask.data.findings import Findings
from refinemask.data.formats.content import Content, chosen_split, listed_classes
from refinemask.data.formats.image_files import ImageFiles, files_below, label_map_or_left_out
from refinemask.data.label_map import read_label_map, value_masks
from refinemask.files import UserError
from refinemask.foreign import reason
from refinemask.readable import require_readable

WHAT = "Pascal VOC instance masks"
OBJECTS, CLASSES, LISTS, PICTURES, SPLITS = (
    "SegmentationObject", "SegmentationClass", "Annotations", "JPEGImages", "ImageSets/Segmentation"
)  # fmt: skip
NAMES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog",
    "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
"""The classes of Pascal VOC, in the order of their values from 1."""
VOID = 255


@dataclass(frozen=True)
class _Classes:
    """The classes of a data set, and what stands for them in ``SegmentationClass``."""

    names: dict[int, str]
    """Names by value, from 1; empty if only the XML files name classes."""
    colours: Mapping[int, int]
    """Values by colour."""


def read_voc(path: Path, images: Path | None, findings: Findings, split: str | None = None) -> Content:
    """Read the instance masks of a folder in the layout of Pascal VOC, such as ``VOCdevkit/VOC2012``.

    Args:
        path: the folder that holds ``SegmentationObject``.
        images: folder of the pictures; if None, ``JPEGImages``.
        findings: where oddities are counted.
        split: the name of a list in ``ImageSets/Segmentation``; None is all masks.

    Raises:
        UserError: pictures, or both class pictures and XML files, are missing.
    """
    if not any((path / folder).is_dir() for folder in (CLASSES, LISTS)):
        raise UserError(f"{path}: has {OBJECTS}, but neither {CLASSES} nor {LISTS}, so its objects have no class")
    pictures = ImageFiles(images or path / PICTURES)
    stems = _stems(path, split)
    lists = {stem: _object_names(path, stem, findings) for stem in stems}
    classes = _classes(path, {name for names in lists.values() for name in names})
    content = Content(WHAT, pictures.folder, findings)
    for stem in tqdm(stems, desc=WHAT, disable=None):
        picture = pictures.find(stem)
        if picture is None:
            findings.left_out("masks without a picture of the same name", stem)
            continue
        label_map = label_map_or_left_out(stem, picture, partial(_read, path / OBJECTS, stem, _palette()), findings)
        if label_map is None:
            continue
        shape = label_map.shape[0], label_map.shape[1]
        image_id = content.add_image(picture.relative_to(pictures.folder).as_posix(), shape)
        _add_objects(content, image_id, label_map, _values_of_classes(path, stem, label_map, classes, findings),
                     classes.names, lists[stem], f"{path / OBJECTS / stem}.png")  # fmt: skip
    content.number_classes(list(classes.names.values()) or listed_classes(path))
    return content


def _add_objects(
    content: Content,
    image_id: int,
    label_map: NDArray[np.integer[Any]],
    class_values: Mapping[int, int],
    names: Mapping[int, str],
    listed: list[str],
    file: str,
) -> None:
    findings = content.findings
    for value, mask in value_masks(label_map):
        if value == 0:
            continue
        entry = f"{file} value {value}"
        by_list = listed[value - 1] if value <= len(listed) else None
        by_pixels = names.get(class_values.get(value, 0))
        if by_list and by_pixels and by_list != by_pixels:
            findings.mended("objects of another class in the XML file (that of the class picture is taken)", entry)
        name = by_pixels or by_list
        if name is None:
            content.leave_out(image_id, "objects without a class", entry)
        else:
            content.add_object(image_id, name, mask, entry)


def _stems(path: Path, split: str | None) -> list[str]:
    """The names of the pictures to read, without their endings."""
    if split is None:
        return [
            file.relative_to(path / OBJECTS).with_suffix("").as_posix()
            for file in files_below(path / OBJECTS, {".png"})
        ]
    known = {file.stem: file for file in sorted((path / SPLITS).glob("*.txt"))}
    file = known[chosen_split(path, split, known)]
    require_readable(file)
    try:
        lines = file.read_bytes().decode("utf-8-sig").splitlines()
    except ValueError as error:
        raise UserError(f"{file}: cannot be read as a list of pictures: {error}") from error
    return list(dict.fromkeys(line.strip() for line in lines if line.strip()))


def _read(folder: Path, stem: str, colours: Mapping[int, int]) -> NDArray[np.integer[Any]]:
    """The values [h, w] of a picture, 0 where it is void; other colours than VOC's have values above all."""
    values = read_label_map(locate(folder, f"{stem}.png"))
    if values.dtype == np.int32:
        found, places = np.unique(values, return_inverse=True)
        numbers = [colours.get(int(colour), VOID + 1 + place) for place, colour in enumerate(found)]
        values = np.array(numbers, np.int32)[places.reshape(values.shape)]
    # In 16 bits it is an object.
    return values if values.dtype == np.uint16 else np.where(values == VOID, 0, values)


def _values_of_classes(
    path: Path, stem: str, label_map: NDArray[np.integer[Any]], classes: _Classes, findings: Findings
) -> dict[int, int]:
    """The value that most pixels of each object have in the class picture, if there is one."""
    folder = path / CLASSES
    if not classes.names or not folder.is_dir():
        return {}
    try:
        values = _read(folder, stem, classes.colours)
    except UserError as error:
        findings.left_out("class pictures that cannot be read", str(error))
        return {}
    if values.shape != label_map.shape:
        findings.left_out("class pictures of another size than the mask", f"{folder / stem}.png")
        return {}
    inside = values != 0
    pairs, counts = np.unique(label_map[inside].astype(np.int64) << 32 | values[inside], return_counts=True)
    # In ascending order of their numbers of pixels, so that the largest is the last that is kept.
    ascending = pairs[np.argsort(counts, kind="stable")]
    return dict(zip((ascending >> 32).tolist(), (ascending & 0xFFFFFFFF).tolist(), strict=True))


def _classes(path: Path, listed: set[str]) -> _Classes:
    file = path / "labelmap.txt"
    if file.is_file():
        return _label_map_classes(file)
    if listed <= set(NAMES):
        return _Classes(dict(enumerate(NAMES, 1)), _palette())
    return _Classes({}, {})


def _label_map_classes(file: Path) -> _Classes:
    """The classes of a ``labelmap.txt``: lines ``name:red,green,blue:parts:actions``, of which one is background."""
    require_readable(file)
    names: dict[int, str] = {}
    colours: dict[int, int] = {}
    try:
        lines = [line for line in file.read_bytes().decode("utf-8-sig").splitlines() if line.strip()]
        for value, line in enumerate(line for line in lines if not line.startswith("#")):
            name, *rest = line.split(":")
            if rest and rest[0]:
                red, green, blue = map(int, rest[0].split(","))
                colours[red << 16 | green << 8 | blue] = value
            if name.strip() != "background":
                names[value] = name.strip()
    except ValueError as error:
        raise UserError(f"{file}: {error}; expected lines such as car:128,0,0::") from error
    if not names:
        raise UserError(f"{file}: names no class; expected lines such as car:128,0,0::")
    return _Classes(names, colours)


def _palette() -> dict[int, int]:
    """VOC's colours: the bits of a value, from the highest of each channel on."""
    palette = {}
    for value in range(256):
        channels = [
            sum((value >> (3 * bit + channel) & 1) << (7 - bit) for bit in range(3)) for channel in range(3)
        ]  # fmt: skip
        palette[channels[0] << 16 | channels[1] << 8 | channels[2]] = value
    return palette


class _Tree(ElementTree.TreeBuilder):
    def doctype(self, name: str, public: str | None, system: str | None) -> None:
        """Refuse what could define entities that grow without bound."""
        raise ValueError("has a document type, expected plain XML")


def _object_names(path: Path, stem: str, findings: Findings) -> list[str]:
    """The class names of the objects in a picture's XML file, in their order; none if there is no file."""
    if not (path / LISTS).is_dir():
        return []
    try:
        file = locate(path / LISTS, f"{stem}.xml")
        if not file.is_file():
            return []
        require_readable(file)
        parser = ElementTree.XMLParser(target=_Tree())
        parser.feed(file.read_bytes())
        root = parser.close()
    except (UserError, ElementTree.ParseError, ValueError, LookupError, OSError) as error:
        findings.left_out("XML files that cannot be read", f"{stem}.xml ({reason(error)})")
        return []
    return [(entry.findtext("name") or "").strip() for entry in root.findall("object")]
