"""``python -m refinemask.data.cityscapes ROOT``: Cityscapes' gtFine files as COCO annotations.

Writes ``ROOT/annotations/instancesonly_filtered_gtFine_{train,val}.json`` by the rules of mmdetection's converter,
which the official model was trained with. It reads the instance maps, in which a pixel is

- ``1000 * class + n`` on object ``n`` of a class that has instances,
- the class alone elsewhere; for a class that has instances this is a group whose objects were not told apart, a crowd.

The 8 classes of the benchmark are annotated under their Cityscapes ids, with run-length masks of the visible pixels;
caravans and trailers, which the benchmark ignores, are not. Annotations are numbered from 1; mmdetection begins at 0,
and pycocotools takes a match with object 0 for no match.
"""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco_mask
from tqdm import tqdm

from refinemask.command import execute
from refinemask.data.categories import CITYSCAPES
from refinemask.data.coco_file import read_json_object
from refinemask.data.label_map import value_masks
from refinemask.files import UserError, atomic_write
from refinemask.json_files import Id, checked
from refinemask.masks import RLE

_LABELS = """unlabeled, ego vehicle, rectification border, out of roi, static, dynamic, ground, road, sidewalk, parking,
rail track, building, wall, fence, guard rail, bridge, tunnel, pole, polegroup, traffic light, traffic sign,
vegetation, terrain, sky, person, rider, car, truck, bus, caravan, trailer, train, motorcycle, bicycle"""
LABELS = tuple(name.strip() for name in _LABELS.split(","))
"""Cityscapes' classes in the order of their ids, from 0."""


@dataclass(frozen=True)
class Args:
    """Write COCO annotations of the 8 instance classes of Cityscapes (gtFine, train and val)."""

    root: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DIRECTORY")]
    """The folder where gtFine_trainvaltest.zip and leftImg8bit_trainvaltest.zip were unpacked."""


@dataclass(frozen=True)
class Frame:
    """The files of one annotated image."""

    image: Path
    instance_map: Path
    polygons: Path


def main(args: Args | None = None) -> int:
    """Run the command line; returns the exit code."""
    return execute(Args, _write_annotations, args)


def _write_annotations(args: Args) -> None:
    splits = {split: find_frames(args.root, split) for split in ("train", "val")}
    for split, frames in splits.items():
        output = args.root / "annotations" / f"instancesonly_filtered_gtFine_{split}.json"
        content, oddities = convert(frames, description=split)
        with atomic_write(output) as temporary:
            temporary.write_text(json.dumps(content))
        crowds = sum(annotation["iscrowd"] for annotation in content["annotations"])
        objects = len(content["annotations"]) - crowds
        print(f"{output}: {len(frames)} images, {objects} objects, {crowds} groups")
        for oddity, count in sorted(oddities.items()):
            print(f"  {oddity}: {count}")


def find_frames(root: Path, split: str) -> list[Frame]:
    """The images of a split with their annotations, ordered by name.

    Raises:
        UserError: there are no images, or an image lacks a file.
    """
    images, annotations = root / "leftImg8bit" / split, root / "gtFine" / split
    suffixes = {"_leftImg8bit.png": images, "_gtFine_instanceIds.png": annotations}
    names = {
        str(path.relative_to(folder)).removesuffix(suffix)
        for suffix, folder in suffixes.items()
        for path in folder.glob(f"*/*{suffix}")
    }
    if not names:
        raise UserError(
            f"{annotations}: no CITY/*_gtFine_instanceIds.png there; expected the folder in which "
            "gtFine_trainvaltest.zip and leftImg8bit_trainvaltest.zip of Cityscapes were unpacked"
        )
    frames = [
        Frame(
            image=images / f"{name}_leftImg8bit.png",
            instance_map=annotations / f"{name}_gtFine_instanceIds.png",
            polygons=annotations / f"{name}_gtFine_polygons.json",
        )
        for name in sorted(names)
    ]
    files = [path for frame in frames for path in (frame.image, frame.instance_map, frame.polygons)]
    if missing := [path for path in files if not path.is_file()]:
        raise UserError(f"{missing[0]}: missing ({len(missing)} files in all); unpack the archive of Cityscapes again")
    return frames


def convert(frames: list[Frame], description: str = "") -> tuple[dict[str, Any], Counter[str]]:
    """The content of a COCO annotation file, and the number of each oddity in the frames' files.

    Raises:
        UserError: a file cannot be read, or the files of a frame do not belong together.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    oddities: Counter[str] = Counter()
    for image_id, frame in enumerate(tqdm(frames, desc=description, disable=None), 1):
        instance_map = read_instance_map(frame.instance_map)
        height, width = instance_map.shape
        name = f"{frame.image.parent.name}/{frame.image.name}"
        images.append({"id": image_id, "file_name": name, "height": height, "width": width})
        oddities += check_polygons(frame.polygons, height, width)
        for value, mask in value_masks(instance_map):
            category = value // 1000 if value >= 1000 else value
            oddities["instances of an unknown class, left out"] += category >= len(LABELS)
            if category in CITYSCAPES.category_ids:
                entry = {"id": len(annotations) + 1, "image_id": image_id, "category_id": category}
                annotations.append(entry | {"iscrowd": int(value < 1000)} | _region(mask))
    pairs = zip(CITYSCAPES.category_ids, CITYSCAPES.class_names, strict=True)
    categories = [{"id": category, "name": name} for category, name in pairs]
    return {"images": images, "annotations": annotations, "categories": categories}, +oddities


def _region(mask: RLE) -> dict[str, Any]:
    return {
        "area": int(coco_mask.area(mask)),
        "bbox": coco_mask.toBbox(mask).tolist(),
        "segmentation": {**mask, "counts": mask["counts"].decode()},
    }


def read_instance_map(path: Path) -> NDArray[np.integer[Any]]:
    """Read an instance map [h, w] of 16-bit values.

    Raises:
        UserError: the file cannot be read or is no instance map.
    """
    try:
        with Image.open(path) as image:
            pixels, mode = np.asarray(image), image.mode
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from error
    if not mode.startswith("I"):
        raise UserError(f"{path}: is an image of mode {mode}, expected one channel of 16 bits")
    return pixels


def check_polygons(path: Path, height: int, width: int) -> Counter[str]:
    """Compare the annotators' polygons with the size of the instance map drawn from them; count what is odd in them.

    Raises:
        UserError: the file cannot be read or is of another size.
    """
    content = read_json_object(path)
    try:
        drawn = checked(content, _Polygons)
    except ValueError as error:
        raise UserError(
            f"{path}: not polygons of Cityscapes: {error}; expected imgHeight, imgWidth and objects with label and "
            "polygon"
        ) from error
    if (drawn.imgHeight, drawn.imgWidth) != (height, width):
        raise UserError(
            f"{path}: is of an image of {drawn.imgHeight}x{drawn.imgWidth}, its instance map is {height}x{width}"
        )
    known, objects = {*LABELS, "license plate"}, drawn.objects
    return Counter(
        {
            "polygons of an unknown class": sum(entry.label.removesuffix("group") not in known for entry in objects),
            "polygons of fewer than three points": sum(len(entry.polygon) < 3 for entry in objects),
        }
    )


@dataclass(slots=True)
class _Object:
    label: str
    polygon: list[Any]


@dataclass(slots=True)
class _Polygons:
    """A file of polygons, by Cityscapes' own names."""

    imgHeight: Id  # noqa: N815
    imgWidth: Id  # noqa: N815
    objects: list[_Object]


if __name__ == "__main__":
    raise SystemExit(main())
