"""What deserves a look in a data set, each with its number and what helps."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from refinemask.data.inspection.counted import Counted
from refinemask.data.inspection.losses import OF_FILES
from refinemask.data.inspection.run import Comparison, DatasetInspection, Inspection
from refinemask.data.inspection.statistics import COCO_DETECTIONS, Statistics

FEW_OBJECTS = 10
"""A class with fewer objects is hardly learnt."""
MANY_UNDER_ANCHOR = 0.1
"""Share of objects under half of the smallest anchor from which on smaller anchors help."""

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


def remarks_on(inspection: Inspection, found: DatasetInspection) -> list[Remark]:
    """The remarks on the data for training or validation, the gravest first."""
    remarks = [*_on_losses(found), *_on_files(found), *_on_statistics(found.statistics), *_on_findings(found)]
    if found is inspection.validation and inspection.comparison is not None:
        remarks += _on_comparison(inspection.comparison)
    return sorted((each for each in remarks if each.count), key=lambda remark: list(LEVELS).index(remark.level))


def _on_losses(found: DatasetInspection) -> Iterator[Remark]:
    # What the reader left out is a finding, and has its first entry there.
    read = {finding.what for finding in found.findings}
    for reason, count in found.losses.reasons.items():
        if reason not in read:
            what, _, remedy = reason.partition(" (")
            yield Remark("lost", count, what, remedy.removesuffix(")"))


def _on_findings(found: DatasetInspection) -> Iterator[Remark]:
    for finding in found.findings:
        what, _, remedy = finding.what.partition(" (")
        level: Level = "lost" if finding.kind == "left out" else "note"
        yield Remark(level, finding.count, f"{what}: {finding.kind}", remedy.removesuffix(")"), finding.first)


def _on_files(found: DatasetInspection) -> Iterator[Remark]:
    files = found.files

    def remark(level: Level, these: Counted, what: str, remedy: str) -> Remark:
        return Remark(level, these.count, what, remedy, these.first)

    def remedy_of(reason: str) -> str:
        return reason.partition(" (")[2].removesuffix(")")

    yield remark("stops", files.missing, "image files are missing", remedy_of(OF_FILES["missing"]))
    yield remark("lost", files.unreadable, "image files cannot be read", remedy_of(OF_FILES["unreadable"]))
    yield remark(
        "lost", files.of_another_size, "images of another size than annotated", remedy_of(OF_FILES["of another size"])
    )
    yield remark("lost", files.unrotated, "images annotated on the unrotated picture", remedy_of(OF_FILES["unrotated"]))
    yield remark(
        "look",
        files.deep,
        "images of more than 8 bits per channel",
        "say which of their values become black and white: --window LOW HIGH, or --window percentile 0.1 99.9",
    )
    yield remark(
        "look",
        files.duplicates,
        "images with the bytes of another one",
        "keep one of each, or they count twice",
    )
    yield remark(
        "note",
        files.turned,
        "images turned upright by their EXIF orientation",
        "nothing, if the masks fit the pictures below",
    )
    yield remark("note", files.alpha, "images with an alpha channel", "nothing: it is dropped")
    yield remark("note", files.palette, "images with a palette", "nothing: they are read as RGB")
    yield remark("note", files.cmyk, "images in CMYK", "nothing: they are read as RGB")
    yield remark("note", files.several, "files of several pictures", "nothing, if the first is the annotated one")
    yield remark("note", files.unnamed, "image files that no annotation names", "nothing: they are not used")


def _on_statistics(numbers: Statistics) -> Iterator[Remark]:
    none = [each.name for each in numbers.classes if not each.trainable]
    few = [each.name for each in numbers.classes if 0 < each.trainable < FEW_OBJECTS]
    yield Remark("look", len(none), "classes without an object", "remove them, or annotate some", _first(none))
    yield Remark("look", len(few), f"classes with fewer than {FEW_OBJECTS} objects", "annotate more", _first(few))
    yield Remark("note", numbers.empty_images, "images without an object", "--background-images trains on them, too")
    yield Remark("look", numbers.twice, "objects annotated twice, with the same box and class", "remove the second")
    if numbers.under_half_anchor > MANY_UNDER_ANCHOR * numbers.trainable:
        yield Remark(
            "look",
            numbers.under_half_anchor,
            f"objects under half of the smallest anchor, {numbers.smallest_anchor:g} pixels of the network's input",
            f"--anchor-scale {numbers.proposed_anchor_scale:g}, or larger images: --image-size SHORTxLONG",
        )
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
            f"nothing: --max-detections {numbers.most_objects} is chosen by itself",
        )


def _on_comparison(comparison: Comparison) -> Iterator[Remark]:
    yield Remark(
        "look",
        comparison.same_content.count,
        "images with the bytes of an image for training",
        "remove them from one of the two, or the accuracy is that of known images",
        comparison.same_content.first,
    )
    yield Remark(
        "note",
        comparison.same_name.count,
        "images with the file name of another image for training",
        "nothing, if they are different pictures",
        comparison.same_name.first,
    )
    yield Remark(
        "look",
        comparison.unknown_classes.count,
        "classes that training has no object of",
        "name them alike in both files, or annotate some",
        comparison.unknown_classes.first,
    )


def _first(names: list[str]) -> str:
    return names[0] if names else ""
