"""What deserves a look in a data set, each with its number and what helps."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from refinemask.data.inspection.counted import Counted, counted
from refinemask.data.inspection.image_files import FileSummary, Problem
from refinemask.data.inspection.losses import OF_FILES, UNDER_SMALLEST_SIDE
from refinemask.data.inspection.run import Comparison, DatasetInspection, Inspection
from refinemask.data.inspection.statistics import COCO_DETECTIONS, Statistics
from refinemask.data.trainable import CROWDS, NO_AREA, OUTSIDE, UNDER_A_PIXEL
from refinemask.window import REMEDY

FEW_OBJECTS = 10
"""A class with fewer objects is hardly learnt."""
MANY_UNDER_ANCHOR = 0.1
"""Share of objects under half of the smallest anchor from which on smaller anchors help."""
REMEDIES = {
    CROWDS: "if each is one object: --crowd-as-object, or iscrowd 0",
    NO_AREA: "write the area of their mask",
    UNDER_A_PIXEL: "check that boxes are x, y, width, height in pixels",
    OUTSIDE: "check that boxes are x, y, width, height in pixels of the annotated image",
    UNDER_SMALLEST_SIDE: "scale or join the images",
}
"""What helps against each loss."""

Level = Literal["stops", "lost", "look", "note"]
"""Whether training does not start, loses objects, may learn or measure something wrong, or nothing is wrong."""
LEVELS: dict[Level, str] = {
    "stops": "stops training",
    "lost": "lost",
    "look": "have a look",
    "note": "good to know",
}
"""What each level is called."""


@dataclass(frozen=True)
class Remark:
    """One thing about a data set."""

    level: Level
    count: int
    what: str
    """What is counted, as words behind the number."""
    remedy: str = ""
    """What helps."""
    first: str = ""
    """Where to look for one."""


def remarks_on_training(inspection: Inspection) -> list[Remark]:
    """The remarks on the data to train on, the gravest first."""
    found = inspection.training
    return _sorted(
        *_on_broken_files(found, "stops" if inspection.unstartable else "look"),
        *_on_losses(found),
        *_on_findings(found),
        *_on_kinds(found.files),
        *_on_classes(found.statistics),
        *_on_objects(found.statistics),
        *_on_crowding(found.statistics),
    )


def remarks_on_validation(found: DatasetInspection, comparison: Comparison) -> list[Remark]:
    """The remarks on the data to measure on, the gravest first."""
    crowds, none = found.statistics.crowds, _without_objects(found.statistics)
    return _sorted(
        *_on_broken_files(found, "lost"),
        *_on_findings(found),
        *_on_kinds(found.files),
        Remark("note", crowds, "crowds", "nothing: detections there neither count nor harm"),
        Remark("note", none.count, "classes without an object", "nothing: they are not measured", none.first),
        *_on_crowding(found.statistics),
        *_on_comparison(comparison),
    )


def _sorted(*remarks: Remark) -> list[Remark]:
    return sorted((each for each in remarks if each.count), key=lambda remark: list(LEVELS).index(remark.level))


def _remark(level: Level, these: Counted, what: str, remedy: str) -> Remark:
    return Remark(level, these.count, what, remedy, these.first)


def _on_broken_files(found: DatasetInspection, missing: Level) -> Iterator[Remark]:
    """The files that cannot be used, with their objects; ``missing`` is how grave it is that there is none."""
    files = found.files

    def what(words: str, problem: Problem) -> str:
        objects = found.losses.reasons.get(OF_FILES[problem], 0)
        return f"{words}, with {objects:,} {'object' if objects == 1 else 'objects'}"

    yield _remark(missing, files.missing, what("missing image files", "missing"), "check --images and file_name")
    yield _remark(
        "lost",
        files.unreadable,
        what("image files that cannot be read", "unreadable"),
        "copy them again, or convert them to JPEG or PNG",
    )
    yield _remark(
        "lost",
        files.of_another_size,
        what("images of another size than annotated", "of another size"),
        "scale the images or the annotations",
    )
    yield _remark(
        "lost",
        files.unrotated,
        what("images annotated on the unrotated picture", "unrotated"),
        "remove the EXIF orientation from the files: exiftool -Orientation= FILES",
    )
    yield _remark(
        "lost",
        files.without_window,
        what("images of more than 8 bits per channel, and no window", "without a window"),
        REMEDY,
    )


def _on_losses(found: DatasetInspection) -> Iterator[Remark]:
    for reason, count in found.losses.reasons.items():
        if reason in REMEDIES:
            yield Remark("lost", count, reason.partition(" (")[0], REMEDIES[reason])


def _on_findings(found: DatasetInspection) -> Iterator[Remark]:
    for finding in found.findings:
        level: Level = "lost" if finding.kind == "left out" else "note"
        yield Remark(level, finding.count, f"{finding.what}: {finding.kind}", "", finding.first)


def _on_kinds(files: FileSummary) -> Iterator[Remark]:
    yield _remark("look", files.duplicates, "images with the bytes of another one", "keep one, or they count twice")
    fits = "nothing, if the masks fit the pictures of the page (--output)"
    yield _remark("note", files.turned, "images turned upright by their EXIF orientation", fits)
    yield _remark("note", files.alpha, "images with an alpha channel", "nothing: it is dropped")
    yield _remark("note", files.palette, "images with a palette", "nothing: they are read as RGB")
    yield _remark("note", files.cmyk, "images in CMYK", "nothing: they are read as RGB")
    yield _remark("note", files.several, "files of several pictures", "nothing, if the first is the annotated one")
    yield _remark("note", files.unnamed, "image files that no annotation names", "nothing: they are not used")


def _on_classes(numbers: Statistics) -> Iterator[Remark]:
    few = counted([each.name for each in numbers.classes if 0 < each.trainable < FEW_OBJECTS])
    yield _remark("look", _without_objects(numbers), "classes without an object", "remove them, or annotate some")
    yield _remark("look", few, f"classes with fewer than {FEW_OBJECTS} objects", "annotate more")


def _on_objects(numbers: Statistics) -> Iterator[Remark]:
    yield Remark("note", numbers.empty_images, "images without an object", "--background-images trains on them, too")
    yield Remark("look", numbers.twice, "objects annotated twice, with the same box and class", "remove the second")
    if numbers.under_half_anchor > MANY_UNDER_ANCHOR * numbers.trainable:
        yield Remark(
            "look",
            numbers.under_half_anchor,
            f"objects under half of the smallest anchor, {numbers.smallest_anchor:g} pixels of the network's input",
            f"--anchor-scale {numbers.proposed_anchor_scale:g}, or larger images: --image-size SHORTxLONG",
        )


def _on_crowding(numbers: Statistics) -> Iterator[Remark]:
    yield Remark(
        "look",
        numbers.images_over_detections,
        f"images with more objects than the model's {numbers.detections} detections",
        f"--detections {numbers.most_objects}",
    )
    if numbers.detections > COCO_DETECTIONS:
        yield Remark(
            "note",
            numbers.images_over_coco,
            f"images with more objects than the {COCO_DETECTIONS} that COCO's evaluation counts",
            "nothing: refinemask evaluate counts more by itself (--max-detections)",
        )


def _on_comparison(comparison: Comparison) -> Iterator[Remark]:
    yield _remark(
        "look",
        comparison.same_content,
        "images with the bytes of an image to train on",
        "remove them from one of the two, or what is measured was learnt",
    )
    yield _remark(
        "note",
        comparison.same_name,
        "images with the file name of another image to train on",
        "nothing, if they are different pictures",
    )
    yield _remark(
        "look",
        comparison.unknown_classes,
        "classes that training has no object of",
        "name them alike in both files, or annotate some",
    )


def _without_objects(numbers: Statistics) -> Counted:
    return counted([each.name for each in numbers.classes if not each.trainable])
