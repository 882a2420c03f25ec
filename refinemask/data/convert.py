"""Write annotations of another format as a COCO file: ``python -m refinemask.data.convert IN OUT.json``.

IN is data.yaml or a folder of labels of YOLO, a file or folder of labelme, a folder of Pascal VOC with instance masks,
or a folder of PNG instance masks. A split stands behind a colon, such as data.yaml:val. A COCO file is written
as it was understood.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from refinemask.command import execute
from refinemask.data.coco import CocoDataset
from refinemask.data.coco_text import dataset_text
from refinemask.data.lvis import LvisDataset
from refinemask.data.reading import CLASS_NAME, read_with_folder, split_path
from refinemask.files import UserError, atomic_write, require_not_input
from refinemask.spelling import OptionalPath


@dataclass(frozen=True)
class Args:
    """Write annotations of another format as a COCO file."""

    annotations: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="IN")]
    """File or folder of annotations; a split stands behind a colon, such as data.yaml:val."""
    output: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT.json")]
    """COCO file to write."""
    images: OptionalPath = None
    """Folder of the pictures, which file names then begin from; if not given, the one that the format implies."""
    class_name: str = CLASS_NAME
    """Class of instance masks that lie in no folder of a class."""
    crowd_as_object: bool = False
    """Write objects that a COCO file marks as crowds (iscrowd 1) as one object each."""


def main(args: Args | None = None) -> int:
    """Run the command line; returns the exit code."""
    return execute(Args, _convert, args, __doc__)


def _convert(args: Args) -> None:
    place, _ = split_path(args.annotations)
    _require_own_output(args.output, place)
    dataset, folder = convert(args.annotations, args.images, args.class_name, crowd_as_object=args.crowd_as_object)
    with atomic_write(args.output) as temporary:
        temporary.write_text(dataset_text(dataset))
    objects = sum(map(len, dataset.annotations.values()))
    begin = f"; file names begin from {folder}" if folder else ""
    print(f"{args.output}: {len(dataset.images)} images, {objects} objects, {len(dataset.categories)} classes{begin}")
    # A COCO file has no place for it.
    if bare := sum(not dataset.annotations[number] for number in dataset.incomplete):
        print(f"{args.output}: in {bare} images every object was left out: they are no background to train on")


def convert(
    annotations: str | os.PathLike[str],
    images: Path | None = None,
    class_name: str = CLASS_NAME,
    *,
    crowd_as_object: bool = False,
) -> tuple[CocoDataset, Path | None]:
    """Annotations of any format, and the folder that their file names begin from, if it is known.

    Raises:
        UserError: they cannot be read, or are LVIS's, which have more than a COCO file holds.
    """
    dataset, folder = read_with_folder(annotations, images, crowd_as_object=crowd_as_object, class_name=class_name)
    if isinstance(dataset, LvisDataset):
        raise UserError(f"{annotations}: is an LVIS file, which is read as it is (--metric lvis) and not converted")
    return dataset, folder


def _require_own_output(output: Path, place: Path) -> None:
    """Raise a UserError if the output would overwrite what is read, or be read the next time."""
    require_not_input(output, place)
    if output.suffix.lower() != ".json":
        raise UserError(f"{output}: expected the name of a file that ends in .json")
    if place.is_dir() and Path(os.path.realpath(output)).is_relative_to(os.path.realpath(place)):
        raise UserError(f"{output}: lies in {place}, whose files are read; name a file outside it")


if __name__ == "__main__":
    raise SystemExit(main())
