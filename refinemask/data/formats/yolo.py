"""YOLO segmentation: one text file a picture, one object a line, a class and an outline in fractions of the picture.

The layout is Ultralytics'. ``data.yaml`` names the classes (``names``) and the pictures of each split (``train``,
``val``, ``test``: folders, or text files of paths). The labels of ``images/…/a.jpg`` are ``labels/…/a.txt``, or lie
beside the picture where no folder is called ``images``.

``supervision`` reads this format, too. It makes an image-sized mask of every object, of points rounded to whole pixels:
the outlines are lost, and a data set of COCO's size does not fit into memory. Nor does it look for the lists of splits.
"""

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from refinemask.data.annotated import name_below
from refinemask.data.findings import Findings
from refinemask.data.formats.content import LEVELS_UP, NAME_LISTS, Content, chosen_split, listed_classes
from refinemask.data.formats.image_files import ImageFiles, files_below, size_or_left_out
from refinemask.data.images import IMAGE_SUFFIXES
from refinemask.extras import needed_by
from refinemask.files import UserError
from refinemask.json_files import checked, short
from refinemask.readable import require_readable

WHAT = "YOLO outlines"
SPLITS = ("train", "val", "valid", "validation", "test")
DATA_FILES = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
"""Names under which the file of a data set is looked for."""
MOST_BYTES = 1 << 18
"""Size of the largest file of a data set: the YAML parser takes seconds for that many."""
MOST_CLASSES = 1 << 16
FARTHEST = 1.0
"""How many pictures away an outline may reach. Coordinates in pixels reach farther."""

Name = str | int | float | bool


@dataclass(slots=True)
class _Data:
    """The file of a data set, by YOLO's own names."""

    names: list[Name] | dict[int | str, Name] | None = None
    nc: int | None = None
    path: str | None = None
    train: str | list[str] | None = None
    val: str | list[str] | None = None
    valid: str | list[str] | None = None
    validation: str | list[str] | None = None
    test: str | list[str] | None = None
    kpt_shape: Any = None


def read_yolo(path: Path, images: Path | None, findings: Findings, split: str | None = None) -> Content:
    """Read the labels that a ``data.yaml`` names, or those of a folder of labels.

    Args:
        path: a ``data.yaml``, or a folder of label files.
        images: folder that file names begin from; pictures elsewhere are not looked at. If None, it is the folder of
            the split's pictures, which must lie near the ``data.yaml``.
        findings: where oddities are counted.
        split: the split to read; for a folder, the folder's name below it.

    Raises:
        UserError: files are missing or malformed, or no picture has labels.
    """
    if path.is_dir():
        names, folder, pairs = _from_labels(path, images, split, findings)
    else:
        names, folder, pairs = _from_data_file(path, images, split, findings)
    content = Content(WHAT, folder, findings, names)
    labelled = 0
    for picture, labels in tqdm(pairs, desc=WHAT, disable=None):
        size = size_or_left_out(picture, findings)
        if size is None:
            continue
        image_id = content.add_image(name_below(picture, folder) or picture.name, size)
        if labels.is_file():
            labelled += 1
            _add_objects(content, image_id, labels)
        else:
            findings.mended("pictures without a file of labels (they have no objects)", str(picture))
    if not labelled and content.images:
        raise UserError(
            f"{path}: none of its {len(pairs)} pictures has labels; expected {pairs[0][1]} for {pairs[0][0]}"
        )
    return content


def _add_objects(content: Content, image_id: int, labels: Path) -> None:
    image, findings = content.images[image_id - 1], content.findings
    try:
        lines = labels.read_bytes().decode("utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        content.leave_out(image_id, "files of labels that cannot be read", f"{labels}: {error}")
        return
    before: set[str] = set()
    for number, line in enumerate(lines, 1):
        entry = f"{labels} line {number}"
        if not line.strip():
            continue
        if line in before:
            findings.left_out("lines that are there twice", entry)
            continue
        before.add(line)
        try:
            category, outline = _outline(line, content.categories)
        except ValueError as error:
            what, found = error.args
            content.leave_out(image_id, what, f"{entry}{found}")
            continue
        if len(outline) % 2:
            findings.mended("outlines with a number behind them, such as a confidence (it is dropped)", entry)
            outline.pop()
        outline[::2] = [x * image["width"] for x in outline[::2]]
        outline[1::2] = [y * image["height"] for y in outline[1::2]]
        content.add_object(image_id, category, [outline], entry)


def _outline(line: str, names: dict[int, str]) -> tuple[int, list[float]]:
    """The class and fractions of a line.

    Raises:
        ValueError: there is no outline; its arguments are the words behind a number, and what is said of this line.
    """
    try:
        category, *outline = map(float, line.split())
    except ValueError:
        raise ValueError("lines that are not all numbers", "") from None
    if category not in names:
        raise ValueError("objects of a class without a name", f": class {category:g}")
    if len(outline) in (4, 5):
        raise ValueError("boxes without an outline", "")
    if len(outline) < 4:
        raise ValueError("objects without an outline of at least three points", "")
    if not _are_fractions(outline[: len(outline) // 2 * 2]):
        raise ValueError("objects with coordinates that are no fractions of the picture's size", "")
    return int(category), outline


def _are_fractions(outline: list[float]) -> bool:
    # The least and the largest of numbers with NaN among them are any.
    return min(outline) >= -FARTHEST and max(outline) <= 1 + FARTHEST and not math.isnan(sum(outline))


def _from_labels(
    path: Path, images: Path | None, split: str | None, findings: Findings
) -> tuple[dict[int, str], Path, list[tuple[Path, Path]]]:
    """Names, folder of pictures, and the pictures with their files of labels, of a folder of labels."""
    if (path / "labels").is_dir():
        path = path / "labels"
    if split is not None:
        path = path / split
        if not path.is_dir():
            raise UserError(f"{path}: no such folder of labels; expected the name of a split behind the colon")
    beside = _exchanged(path / "a", "labels", "images").parent
    own = beside if beside.is_dir() and (images is None or name_below(beside, images) is not None) else images or path
    pictures = ImageFiles(own).paths
    pairs = [(picture, path / picture.relative_to(own).with_suffix(".txt")) for picture in pictures]
    expected = {labels for _, labels in pairs}
    for labels in files_below(path, {".txt"}):
        if labels not in expected and labels.name not in NAME_LISTS:
            findings.left_out("files of labels without a picture", str(labels))
    return _names_above(path), images or own, pairs


def _names_above(folder: Path) -> dict[int, str]:
    place = Path(os.path.abspath(folder))
    for above in (place, *list(place.parents)[:LEVELS_UP]):
        for path in (above / name for name in DATA_FILES):
            if path.is_file():
                return _class_names(path, _read_data(path))
    if (listed := listed_classes(folder)) is not None:
        return dict(enumerate(listed))
    raise UserError(
        f"{folder}: the labels number their classes; expected data.yaml with 'names', or classes.txt with one name a "
        "line, in this folder or above"
    )


def _from_data_file(
    path: Path, images: Path | None, split: str | None, findings: Findings
) -> tuple[dict[int, str], Path, list[tuple[Path, Path]]]:
    """Names, folder of pictures, and the pictures with their files of labels, of a split of a ``data.yaml``."""
    data = _read_data(path)
    known = {name: True for name in SPLITS if getattr(data, name)}
    if not known:
        raise UserError(
            f"{path}: has no split; expected a line with the folder of its pictures, such as train: images/train, or "
            "give the folder of the labels in its place"
        )
    split = chosen_split(path, split, known)
    entries = getattr(data, split)
    entries = [entries] if isinstance(entries, str) else entries
    allowed = images or Path(os.path.abspath(path)).parent.parent
    places, pictures = [], list[Path]()
    for entry in entries:
        place = _place(path, data.path, entry, images)
        _require_below(path, place, allowed, images)
        if place.is_dir():
            places.append(place)
            pictures += files_below(place, IMAGE_SUFFIXES)
        else:
            listed = _listed_pictures(place, findings)
            for picture in listed:
                _require_below(place, picture, allowed, images)
            places += [picture.parent for picture in listed]
            pictures += listed
    if not pictures:
        raise UserError(f"{path}: its split {split!r} ({short(entries)}) has no picture")
    folder = images or Path(os.path.commonpath([os.path.abspath(place) for place in places]))
    pairs = [(picture, _exchanged(picture, "images", "labels").with_suffix(".txt")) for picture in pictures]
    return _class_names(path, data), folder, pairs


def _read_data(path: Path) -> _Data:
    with needed_by(f"{path}: reading it"):
        import yaml
    require_readable(path)
    expected = "the file of a YOLO data set (names, train, val)"
    if path.stat().st_size > MOST_BYTES:
        raise UserError(f"{path}: has {path.stat().st_size} bytes, expected {expected} of at most {MOST_BYTES}")
    try:
        content = yaml.safe_load(path.read_bytes())
    except Exception as error:  # The parser lets errors of Python's through, such as those of dates and numbers.
        reason = "is nested too deeply" if isinstance(error, RecursionError) else short(" ".join(str(error).split()))
        raise UserError(f"{path}: not a YAML file: {reason}; expected {expected}") from error
    try:
        data = checked(content, _Data, lax=False)
    except ValueError as error:
        raise UserError(f"{path}: {short(str(error))}; expected {expected}") from error
    if data.kpt_shape is not None:
        raise UserError(f"{path}: has 'kpt_shape', so its labels are key points; expected outlines")
    return data


def _class_names(path: Path, data: _Data) -> dict[int, str]:
    names = data.names
    if names is None and data.nc is not None and 0 < data.nc <= MOST_CLASSES:
        return {number: f"class_{number}" for number in range(data.nc)}
    try:
        pairs = names.items() if isinstance(names, dict) else enumerate(names or ())
        found = {int(number): str(name) for number, name in pairs}
    except ValueError as error:
        raise UserError(f"{path}: names: expected whole numbers before the names of classes, {error}") from error
    if not found or min(found) < 0 or max(found) > MOST_CLASSES:
        raise UserError(f"{path}: names: expected the names of the classes, numbered from 0 to at most {MOST_CLASSES}")
    return found


def _place(path: Path, root: str | None, entry: str, images: Path | None) -> Path:
    """Where a split's pictures, or the list of them, are.

    Paths begin at ``path`` of the file or, as exports are often moved, at the file itself. Some begin with a ``..`` too
    many. If nothing is there, the pictures are those of ``images``.
    """
    here, name = path.parent, entry.replace("\\", "/")
    candidates = [here / (root or "").replace("\\", "/") / name, here / name, here / name.removeprefix("../")]
    for candidate in candidates:
        if os.path.exists(candidate):
            return candidate
    if images is not None:
        return images
    raise UserError(
        f"{path}: {short(entry)} is not there (looked for {short(str(candidates[0]))}); name it with --images"
    )


def _listed_pictures(path: Path, findings: Findings) -> list[Path]:
    """The pictures of a list, whose paths begin at the list's folder."""
    require_readable(path)
    try:
        names = [line.strip() for line in path.read_bytes().decode("utf-8-sig").splitlines()]
    except ValueError as error:
        raise UserError(f"{path}: cannot be read as a list of pictures: {error}") from error
    found = []
    for name in filter(None, names):
        picture = path.parent / name.replace("\\", "/")
        if not os.path.isfile(picture):
            findings.left_out("listed pictures that are not there", f"{short(name)} of {path}")
        else:
            found.append(picture)
    return found


def _exchanged(path: Path, one: str, other: str) -> Path:
    """The path with the last folder called ``one`` called ``other``."""
    parts = list(path.parts)
    places = [place for place, part in enumerate(parts[:-1]) if part == one]
    if places:
        parts[places[-1]] = other
    return Path(*parts)


def _require_below(path: Path, place: Path, allowed: Path, images: Path | None) -> None:
    """Raise a UserError if a file that may be a stranger's leads to where its user did not point."""
    if name_below(place, allowed) is None:
        remedy = "name a folder that has all its pictures" if images else "if that is right, name it with --images"
        raise UserError(f"{path}: leads to {short(str(place))}, which is not below {allowed}; {remedy}")
