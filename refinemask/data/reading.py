"""One reader of annotations, whatever their format: what a path holds is recognised, and read as COCO's content."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from refinemask.data.coco import CocoDataset, parse_coco
from refinemask.data.coco_file import read_lists, without_garbage_collection
from refinemask.data.findings import Findings, print_findings
from refinemask.data.formats.content import Content
from refinemask.data.formats.image_files import files_below
from refinemask.data.formats.instance_masks import read_instance_masks
from refinemask.data.formats.labelme import is_labelme, read_labelme
from refinemask.data.formats.voc import OBJECTS, read_voc
from refinemask.data.formats.yolo import DATA_FILES, read_yolo
from refinemask.data.label_map import SUFFIXES
from refinemask.data.lvis import parse_lvis
from refinemask.distributed import say
from refinemask.files import UserError
from refinemask.readable import require_readable

CLASS_NAME = "object"
"""The class of instance masks that lie in no folder of a class."""
YAML = {".yaml", ".yml"}
EXPECTED = (
    "a JSON file of COCO, LVIS or labelme; a folder of labelme's JSON files; data.yaml or labels of YOLO; "
    f"a folder with {OBJECTS} of Pascal VOC; or a folder of PNG or TIFF instance masks"
)
"""What annotations may be, for error messages."""


def read_annotations(
    path: str | os.PathLike[str],
    images: str | os.PathLike[str] | None = None,
    *,
    crowd_as_object: bool = False,
    class_name: str = CLASS_NAME,
) -> CocoDataset:
    """The annotations of :func:`read_with_folder`; docs/annotation-formats.md shows the layouts of each format.

    Raises:
        UserError: the path is of no known format, files are missing, or the whole is malformed.
    """
    return read_with_folder(path, images, crowd_as_object=crowd_as_object, class_name=class_name)[0]


def read_with_folder(
    path: str | os.PathLike[str],
    images: str | os.PathLike[str] | None = None,
    *,
    crowd_as_object: bool = False,
    class_name: str = CLASS_NAME,
) -> tuple[CocoDataset, Path | None]:
    """Annotations of any format that this project knows, and the folder that file names begin from, if it is known.

    What a path other than a COCO or LVIS file was recognised as is printed to standard error, and so is every kind of
    oddity that was mended or left out.

    Args:
        path: a file or folder. A split of a YOLO or Pascal VOC data set stands behind a colon: ``data.yaml:val``.
        images: folder that the images' file names begin from; None is the one that the format implies. For COCO and
            LVIS files it tells the sizes that the annotations lack.
        crowd_as_object: whether what is marked as a crowd is one object; only COCO has crowds.
        class_name: the class of instance masks that lie in no folder of a class.

    Raises:
        UserError: the path is of no such format, files are missing, or the whole is malformed.
    """
    if is_json_file(path):
        with without_garbage_collection():
            content = read_lists(path)
            if not is_labelme(content):
                dataset = _parse(path, content, images, crowd_as_object)
                return dataset, None if images is None else Path(images)
    return _read_foreign(path, images, class_name)


def _read_foreign(
    path: str | os.PathLike[str], images: str | os.PathLike[str] | None, class_name: str
) -> tuple[CocoDataset, Path]:
    """Annotations of another format than COCO's or LVIS's, and the folder that their file names begin from."""
    findings = Findings()
    content = _recognised(path, None if images is None else Path(images), findings, class_name)
    if not content.images or not content.categories:
        missing = "no picture with annotations" if not content.images else "no object, so it has no class"
        raise UserError(f"{path}: read as {content.what}, but has {missing}{_first(findings)}")
    say(f"{path}: read as {content.what} of pictures in {content.folder}")
    print_findings(path, findings)
    dataset = parse_coco(path, content.coco())
    incomplete = dataset.incomplete | content.incomplete
    return replace(dataset, findings=(*findings, *dataset.findings), incomplete=incomplete), content.folder


def is_json_file(path: str | os.PathLike[str]) -> bool:
    """Whether annotations are one file that is no ``data.yaml``; only such a file can be COCO's or LVIS's."""
    return os.path.isfile(path) and Path(path).suffix.lower() not in YAML


def split_path(path: str | os.PathLike[str]) -> tuple[Path, str | None]:
    """The path of annotations, and the split behind its last colon if there is one."""
    whole = os.fspath(path)
    place, colon, split = whole.rpartition(":")
    if not colon or not split or os.path.exists(whole) or not os.path.exists(place):
        return Path(whole), None
    return Path(place), split


def _parse(
    path: str | os.PathLike[str],
    content: dict[str, Any],
    images: str | os.PathLike[str] | None,
    crowd_as_object: bool,
) -> CocoDataset:
    entries = content.get("images")
    first = entries[0] if isinstance(entries, list) and entries else None
    if isinstance(first, dict) and "neg_category_ids" in first:
        return parse_lvis(path, content, images)
    return parse_coco(path, content, images, crowd_as_object=crowd_as_object)


def _first(findings: Findings) -> str:
    first = next(iter(findings), None)
    return "" if first is None else f"; {first}"


def _recognised(path: str | os.PathLike[str], images: Path | None, findings: Findings, class_name: str) -> Content:
    place, split = split_path(path)
    if not os.path.exists(place):
        raise UserError(f"{path}: no such file or folder, expected {EXPECTED}")
    if not place.is_dir():
        require_readable(place)
    if place.suffix.lower() in YAML and place.is_file():
        return read_yolo(place, images, findings, split)
    for name in DATA_FILES:
        if (place / name).is_file():
            return read_yolo(place / name, images, findings, split)
    if (place / OBJECTS).is_dir():
        return read_voc(place, images, findings, split)
    # Text beside masks or labelme's files is a note.
    only_text = _has(place, {".txt"}) and not _has(place, SUFFIXES | {".json"})
    if (place / "labels").is_dir() or only_text:
        return read_yolo(place, images, findings, split)
    if split is not None:
        raise UserError(f"{path}: has a split behind its colon, which only data sets of YOLO and Pascal VOC have")
    if place.is_file() or _has(place, {".json"}):
        return read_labelme(place, images, findings)
    if _has(place, SUFFIXES):
        return read_instance_masks(place, images, findings, class_name)
    raise UserError(f"{path}: nothing in the folder is known; expected {EXPECTED}")


def _has(folder: Path, suffixes: set[str]) -> bool:
    return next(files_below(folder, suffixes), None) is not None
