"""What is odd about annotations as a whole, although every entry is well formed."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from refinemask.data.coco_entries import CategoryEntry
from refinemask.data.findings import Findings
from refinemask.data.mended_segmentation import boxes_differ
from refinemask.data.segmentation import extent
from refinemask.json_files import short

if TYPE_CHECKING:
    from refinemask.data.coco import CocoAnnotation, CocoImage

MOST_COMPARED = 10_000
"""Objects of a file that are compared with their boxes: that most of them disagree shows in these."""
BACKGROUND = {"background", "_background_", "__background__", "bg", "__ignore__"}
"""Names, in lower case, of classes that stand for no object."""


def add_hints(
    findings: Findings,
    images: Mapping[int, "CocoImage"],
    categories: Sequence[CategoryEntry],
    annotations: Sequence["CocoAnnotation"],
) -> None:
    """Note what deserves a look: crowds, boxes and coordinates by most objects, and classes by their names.

    Args:
        findings: where to note it.
        images: the images by id.
        categories: the categories.
        annotations: the objects that were read.
    """
    _hint_at_categories(findings, categories, {annotation.category_id for annotation in annotations})
    if len({annotation.id for annotation in annotations}) < len(annotations):
        repeated = [n for n, count in Counter(annotation.id for annotation in annotations).items() if count > 1]
        findings.note("annotation ids that several objects have (all are kept)", str(repeated[0]), len(repeated))
    crowds = [annotation for annotation in annotations if annotation.iscrowd]
    if 2 * len(crowds) > len(annotations):
        findings.note(
            f"of {len(annotations)} objects are marked as crowds (iscrowd 1), as CVAT marks every brush mask: training "
            "leaves crowds out, and evaluation does not look for them; if each is one object, give --crowd-as-object",
            f"annotation {crowds[0].id}",
            len(crowds),
        )
    flat = [annotation for annotation in annotations if annotation.area == 0 and min(annotation.bbox[2:]) >= 1]
    _note_most(
        findings,
        f"of {len(annotations)} objects have area 0, though not their boxes: training leaves them out; remove 'area' "
        "from the file, and it is computed from the masks",
        flat,
        len(annotations),
    )
    _hint_at_boxes(findings, images, annotations[:: len(annotations) // MOST_COMPARED + 1])


def _hint_at_boxes(
    findings: Findings, images: Mapping[int, "CocoImage"], annotations: Sequence["CocoAnnotation"]
) -> None:
    shares, elsewhere, polygons = [], [], 0
    for annotation in annotations:
        x, y, width, height = box = extent(annotation.segmentation)
        image = images[annotation.image_id]
        polygons += isinstance(annotation.segmentation, list)
        if min(x, y) >= 0 and max(x + width, y + height) <= 1 and min(image.height, image.width) > 2:
            shares.append(annotation)
        if boxes_differ(annotation.bbox, box):
            elsewhere.append(annotation)
    _note_most(
        findings,
        f"of {polygons} polygons lie within the first pixel of their image: these coordinates look like shares "
        "of its width and height, expected pixels",
        shares,
        polygons,
    )
    _note_most(
        findings,
        f"of {len(annotations)} boxes that were compared are not where their masks are; expected "
        "[x, y, width, height] in pixels (not x1, y1, x2, y2)",
        elsewhere,
        len(annotations),
    )


def _note_most(findings: Findings, what: str, found: Sequence["CocoAnnotation"], among: int) -> None:
    if 2 * len(found) > among:
        findings.note(what, f"annotation {found[0].id}", len(found))


def _hint_at_categories(findings: Findings, categories: Iterable[CategoryEntry], used: set[int]) -> None:
    names = Counter(str(category.name) for category in categories)
    if repeated := [name for name, count in names.items() if count > 1]:
        findings.note("names that several categories have (each stays a class)", short(repeated[0]), len(repeated))
    above = {category.supercategory for category in categories if isinstance(category.supercategory, str)}
    for category in categories:
        name = str(category.name)
        is_root = category.supercategory == "none" and name in above
        if category.id not in used and (is_root or name.lower() in BACKGROUND):
            findings.note(
                "categories without an object that look like a background or a group of others (each stays a class; "
                "remove it from the file if it is none)",
                f"category {category.id} ({short(name)})",
            )
