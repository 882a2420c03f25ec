"""AP*: a COCO-trained detector scored on LVIS annotations, whose outlines are finer (PointRend, section 4).

``python -m refinemask.evaluation.ap_star lvis_v0.5_val.json lvis_v0.5_val_cocofied.json`` makes the annotations: the
part of LVIS v0.5 that is of COCO's categories. The validation images of LVIS v0.5 are those of COCO val2017.
"""

import json
import os
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

import tyro

from refinemask.command import execute
from refinemask.data.coco_file import read_entries, read_json_object
from refinemask.data.lvis import LvisDataset, parse_lvis
from refinemask.files import UserError, atomic_write, require_not_input
from refinemask.json_files import Id
from refinemask.spelling import SECOND, Old, Output

CATEGORY_LISTS = ("neg_category_ids", "not_exhaustive_category_ids")
"""Lists of category ids in an image entry of LVIS."""


@dataclass(frozen=True)
class Args:
    """Make the annotations of AP* (lvis_v0.5_val_cocofied.json) from an annotation file of LVIS v0.5."""

    lvis: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="LVIS.json")]
    """The LVIS v0.5 annotations."""
    output: Output
    """The file to write."""


def main(args: Args | None = None) -> int:
    """Run the command line; returns the exit code."""
    return execute(Args, _write_cocofied, args, old={SECOND: Old("--output")})


def _write_cocofied(args: Args) -> None:
    require_not_input(args.output, args.lvis)
    content = read_json_object(args.lvis)
    parse_lvis(args.lvis, content)
    cocofied = cocofy(args.lvis, content)
    with atomic_write(args.output) as temporary:
        temporary.write_text(json.dumps(cocofied))
    kept, categories = cocofied["annotations"], cocofied["categories"]
    print(f"{args.output}: {len(kept)} of {len(content['annotations'])} annotations, {len(categories)} categories")


def read_cocofied(path: str | os.PathLike[str], images: str | os.PathLike[str] | None = None) -> LvisDataset:
    """Read a file that this command made.

    The ``AP`` that ``evaluate_lvis`` gives a COCO detector on such a file is the paper's AP*.

    Args:
        path: the annotation file.
        images: folder of the image files, which tell the sizes that the annotations lack; None if it is not known.

    Raises:
        UserError: the file cannot be read, is no LVIS file, or its categories are not COCO's.
    """
    content = read_json_object(path)
    dataset = parse_lvis(path, content, images)
    synsets = coco_synsets()
    if any(synsets.get(synset) != category for category, synset in _synsets(path, content)):
        raise UserError(
            f"{path}: its categories are not COCO's; make the annotations of AP* from LVIS v0.5 with "
            f"`python -m refinemask.evaluation.ap_star {path} OUT.json`"
        )
    return dataset


def coco_synsets() -> dict[str, int]:
    """COCO's category id of each WordNet synset in LVIS v0.5; two of the 80 categories do not occur there."""
    return json.loads(resources.files("refinemask.evaluation").joinpath("coco_synsets.json").read_text())


def cocofy(path: str | os.PathLike[str], lvis: dict[str, Any]) -> dict[str, Any]:
    """The part of an LVIS v0.5 file's content that is of COCO's categories, with COCO's category ids.

    Annotations are numbered anew from 1. As in the official file, a category is left out if no annotation has it and
    no image lists it as negative or not exhaustive.

    Raises:
        UserError: no category is one of COCO's.
    """
    synsets = coco_synsets()
    coco_ids = {category: synsets[synset] for category, synset in _synsets(path, lvis) if synset in synsets}
    if not coco_ids:
        raise UserError(f"{path}: none of its categories is one of COCO's, expected annotations of LVIS v0.5")
    images = [
        image | {key: [coco_ids[c] for c in image[key] if c in coco_ids] for key in CATEGORY_LISTS}
        for image in lvis["images"]
    ]
    objects = zip(lvis["annotations"], read_entries(path, lvis, "annotations", _Object), strict=True)
    kept = [(entry, coco_ids[each.category_id]) for entry, each in objects if each.category_id in coco_ids]
    annotations = [entry | {"id": number, "category_id": category} for number, (entry, category) in enumerate(kept, 1)]
    used = {a["category_id"] for a in annotations}.union(*(image[key] for image in images for key in CATEGORY_LISTS))
    categories = [c | {"id": coco_ids[c["id"]]} for c in lvis["categories"] if coco_ids.get(c["id"]) in used]
    categories.sort(key=lambda category: category["id"])
    return lvis | {"images": images, "annotations": annotations, "categories": categories}


def _synsets(path: str | os.PathLike[str], content: dict[str, Any]) -> list[tuple[int, str]]:
    return [(entry.id, entry.synset) for entry in read_entries(path, content, "categories", _Category)]


@dataclass(slots=True)
class _Object:
    category_id: Id


@dataclass(slots=True)
class _Category:
    id: Id
    synset: str


if __name__ == "__main__":
    raise SystemExit(main())
