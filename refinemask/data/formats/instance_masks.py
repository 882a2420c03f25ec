"""A folder of instance masks: for every picture a PNG or TIFF of the same name, in which every value is an object.

Values of 8 or 16 bits, places in a palette, or colours; 0 and black are background. The masks lie in the folder itself
and are of one class, or in one folder for each class. Run lengths keep every pixel.

No library reads them as they are: ``supervision`` has no reader, and others make an image-sized mask of every object.
"""

import os
from functools import partial
from pathlib import Path

from tqdm import tqdm

from refinemask.data.findings import Findings
from refinemask.data.formats.content import Content, listed_classes
from refinemask.data.formats.image_files import ImageFiles, files_below, label_map_or_left_out
from refinemask.data.label_map import SUFFIXES, read_label_map, value_masks
from refinemask.files import UserError

WHAT = "instance masks"


def read_instance_masks(path: Path, images: Path | None, findings: Findings, class_name: str = "object") -> Content:
    """Read the instance masks of a folder, or of the folders for each class in it.

    Args:
        path: the folder of masks.
        images: folder of the pictures; if None, the folder ``images`` beside that of the masks.
        findings: where oddities are counted.
        class_name: the class of masks that lie in the folder itself.

    Raises:
        UserError: there are no pictures, or two masks of a class belong to one picture.
    """
    beside = path.parent / "images"
    if images is None and not beside.is_dir():
        raise UserError(f"{path}: has masks, but their pictures are not in {beside}; name their folder with --images")
    pictures = ImageFiles(images or beside)
    content = Content(WHAT, pictures.folder, findings)
    ids: dict[Path, int] = {}
    for file, name, stem in tqdm(_masks(path, class_name), desc=WHAT, disable=None):
        picture = pictures.find(stem)
        if picture is None:
            findings.left_out("masks without a picture of the same name", str(file))
            continue
        if os.path.samefile(picture, file):
            raise UserError(f"{file}: is a picture of {pictures.folder}; expected the folder of its masks")
        label_map = label_map_or_left_out(file, picture, partial(read_label_map, file), findings)
        if label_map is None:
            continue
        if picture not in ids:
            shape = label_map.shape[0], label_map.shape[1]
            ids[picture] = content.add_image(picture.relative_to(pictures.folder).as_posix(), shape)
        for value, mask in value_masks(label_map):
            if value != 0:
                content.add_object(ids[picture], name, mask, f"{file} value {value}")
    for picture in pictures.paths:
        if picture not in ids:
            findings.left_out("pictures without a mask", str(picture))
    single = any(True for _ in path.iterdir() if _.suffix.lower() in SUFFIXES)
    content.number_classes([class_name] if single else listed_classes(path) or _class_folders(path))
    return content


def _class_folders(path: Path) -> list[str]:
    return sorted(folder.name for folder in path.iterdir() if folder.is_dir() and not folder.name.startswith("."))


def _masks(path: Path, class_name: str) -> list[tuple[Path, str, str]]:
    """Every mask with its class, and the name of its picture without the ending."""
    own = [file for file in sorted(path.iterdir()) if file.suffix.lower() in SUFFIXES and not file.name.startswith(".")]
    if own:
        return [(file, class_name, file.stem) for file in own]
    return [
        (file, name, str(file.relative_to(path / name).with_suffix("")))
        for name in _class_folders(path)
        for file in files_below(path / name, SUFFIXES)
    ]
