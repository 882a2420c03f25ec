"""The numbers of a data set in words, as the terminal and the page show them."""

from refinemask.data.inspection.run import DatasetInspection
from refinemask.data.inspection.statistics import COCO_DETECTIONS, Spread, Statistics

Facts = dict[str, str]
"""Values in words, by what they are of."""


def facts(found: DatasetInspection) -> dict[str, Facts]:
    """The facts of a data set, by topic; every data set has the same ones."""
    numbers = found.statistics
    return {
        "Objects": _objects(numbers, found.losses.lost),
        "Sizes": _sizes(numbers),
        "Crowding": _crowding(numbers),
        "Image files": _files(found),
    }


def share(count: int, total: int) -> str:
    """A number and its share of a total, such as ``12 (3.4 %)``."""
    return f"{count:,} ({100 * count / total:.1f} %)" if total and count else f"{count:,}"


def _spread(spread: Spread) -> str:
    return f"{spread.smallest:,g} to {spread.largest:,g}, median {spread.median:,g}"


def _objects(numbers: Statistics, lost: int) -> Facts:
    return {
        "images": f"{numbers.images:,}",
        "images without an object": share(numbers.empty_images, numbers.images),
        "images with lost objects only": share(numbers.untrainable_images, numbers.images),
        "classes": f"{len(numbers.classes):,}",
        "objects": f"{numbers.objects:,}",
        "crowds": share(numbers.crowds, numbers.objects),
        "lost to training": share(lost, numbers.trainable + lost),
        "objects per image": _spread(numbers.objects_per_image),
    }


def _sizes(numbers: Statistics) -> Facts:
    sizes = numbers.sizes
    return {
        "image height": _spread(numbers.heights),
        "image width": _spread(numbers.widths),
        "different image sizes": f"{numbers.image_sizes:,}",
        "small objects (under 32² pixels)": share(sizes["small"], numbers.trainable),
        "medium objects (under 96² pixels)": share(sizes["medium"], numbers.trainable),
        "large objects": share(sizes["large"], numbers.trainable),
        "smallest anchor in network pixels": f"{numbers.smallest_anchor:g}",
        "objects under half of it": share(numbers.under_half_anchor, numbers.trainable),
    }


def _crowding(numbers: Statistics) -> Facts:
    return {
        "boxes overlapping by IoU > 0.5": share(numbers.overlapping, numbers.trainable),
        "of them, with one of their class": share(numbers.overlapping_same_class, numbers.trainable),
        "most objects in an image": f"{numbers.most_objects:,}",
        "the model's detections per image": f"{numbers.detections:,}",
        "images with more objects": share(numbers.images_over_detections, numbers.images),
        f"images with more than COCO's {COCO_DETECTIONS}": share(numbers.images_over_coco, numbers.images),
    }


def _files(found: DatasetInspection) -> Facts:
    files, images = found.files, found.statistics.images
    counts = {
        "missing": files.missing,
        "unreadable": files.unreadable,
        "of another size than annotated": files.of_another_size,
        "annotated on the unrotated picture": files.unrotated,
        "of more than 8 bits per channel": files.deep,
        "duplicates by content": files.duplicates,
    }
    kinds = "; ".join(f"{count:,} {kind}" for kind, count in files.kinds.items())
    return {
        **{name: share(each.count, images) for name, each in counts.items()},
        "named by no annotation": f"{files.unnamed.count:,}",
        "kinds": kinds or "none",
    }
