"""The pictures that annotation files of other formats belong to."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refinemask.data.findings import Findings
from refinemask.data.image_kind import read_kind
from refinemask.data.images import IMAGE_SUFFIXES
from refinemask.files import UserError


def files_below(folder: Path, suffixes: set[str]) -> Iterator[Path]:
    """The files below a folder with one of these endings (lower case), sorted; links to folders are not followed."""
    for place, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            # macOS keeps what other file systems have no place for in files called ._a.jpg, beside a.jpg.
            if os.path.splitext(name)[1].lower() in suffixes and not name.startswith("."):
                yield Path(place, name)


class ImageFiles:
    """The pictures below a folder, found by their names without the ending."""

    def __init__(self, folder: Path) -> None:
        """Look for the pictures.

        Raises:
            UserError: there is no such folder, or it holds no picture.
        """
        if not folder.is_dir():
            raise UserError(f"{folder}: no such folder of pictures; name it with --images")
        self.folder = folder
        self.paths = list(files_below(folder, IMAGE_SUFFIXES))
        if not self.paths:
            raise UserError(f"{folder}: holds no picture; name the folder of the pictures with --images")
        self._by_path: dict[str, Path] = {}
        self._by_name: dict[str, list[Path]] = {}
        for path in self.paths:
            self._by_path.setdefault(str(path.relative_to(folder).with_suffix("")), path)
            self._by_name.setdefault(path.stem, []).append(path)

    def find(self, stem: str) -> Path | None:
        """The picture of that path below the folder, without its ending, or the only one of that name in any folder."""
        found = self._by_path.get(stem)
        if found is None:
            named = self._by_name.get(os.path.basename(stem), [])
            return named[0] if len(named) == 1 else None
        return found


def size_or_left_out(path: Path, findings: Findings) -> tuple[int, int] | None:
    """Height and width of a picture; None, which is counted, if it cannot be read."""
    try:
        return read_kind(path).shape
    except UserError as error:
        findings.left_out("pictures that cannot be read", str(error))
        return None


def label_map_or_left_out(
    name: object, picture: Path, read: Callable[[], NDArray[np.integer[Any]]], findings: Findings
) -> NDArray[np.integer[Any]] | None:
    """The label map [h, w] of a picture; None, which is counted, if it cannot be read or is of another size.

    Args:
        name: name of the label map in what is counted.
        picture: the picture.
        read: reads the label map; it raises a UserError where that is impossible.
        findings: where it is counted.
    """
    try:
        label_map = read()
    except UserError as error:
        findings.left_out("masks that cannot be read", str(error))
        return None
    size = size_or_left_out(picture, findings)
    if size is None:
        return None
    if label_map.shape == size:
        return label_map
    sizes = f"{label_map.shape[0]}x{label_map.shape[1]}, the picture {size[0]}x{size[1]}"
    findings.left_out("masks of another size than their picture", f"{name} ({sizes})")
    return None
