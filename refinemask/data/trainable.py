"""Which objects and images are trained on, and why the others are not. Imports no PyTorch."""

from refinemask.data.coco import CocoAnnotation, CocoImage

SMALLEST_SIDE = 32
"""Shortest side, in pixels, of an image that is trained on."""

CROWDS = "crowds (iscrowd 1; if each is one object: --crowd-as-object)"
NO_AREA = "objects without area (area 0)"
UNDER_A_PIXEL = "objects with a box under a pixel (boxes are x, y, width, height in pixels)"
OUTSIDE = "objects outside their image"
"""Why objects are left out, as words behind a number."""


def why_left_out(annotation: CocoAnnotation, image: CocoImage) -> str | None:
    """Why an object is not trained on, as words behind a number; None if it is."""
    x, y, width, height = annotation.bbox
    visible_width = min(x + width, image.width) - max(x, 0)
    visible_height = min(y + height, image.height) - max(y, 0)
    if annotation.iscrowd:
        return CROWDS
    if not annotation.area > 0:
        return NO_AREA
    if not (width >= 1 and height >= 1):
        return UNDER_A_PIXEL
    if not (visible_width > 0 and visible_height > 0):
        return OUTSIDE
    return None


def is_trainable(annotation: CocoAnnotation, image: CocoImage) -> bool:
    """Whether an object is no crowd, has an area, a box of at least a pixel, and lies in the image."""
    return why_left_out(annotation, image) is None
