"""Detections drawn over their image."""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
import supervision as sv
from numpy.typing import NDArray

from refinemask.mask_edges import on_grid
from refinemask.masks import decode
from refinemask.structures import Result

SMALLEST, LARGEST = 640, 1600
"""Limits of the drawing's longer side in pixels: outlines on a smaller one are coarse, a larger one is no use."""
MASKS_AT_ONCE = 20
"""Number of masks that are decoded and drawn in one step, which limits the memory."""
HUGE = 4 * LARGEST
"""Longer side from which on masks are looked up at the drawing's pixels: each would take a whole image."""
CROWDED = 25
"""Number of objects from which on outlines are thin."""
MOST_NAMES = 20
"""Largest number of objects that are named."""
NAMED_SHARE = 0.004
"""Smallest share of the picture's area that a named object covers: a name would hide a smaller one."""
COLOURS = sv.ColorPalette.DEFAULT
LUMA = (0.299, 0.587, 0.114)
"""Shares of red, green and blue in a colour's brightness."""
TEXT_COLOURS = sv.ColorPalette(
    [sv.Color.BLACK if np.dot(colour.as_rgb(), LUMA) > 140 else sv.Color.WHITE for colour in COLOURS.colors]
)


def draw(image: NDArray[np.uint8], results: Sequence[Result], class_names: Mapping[int, str]) -> NDArray[np.uint8]:
    """Draw masks and outlines over an image, and names where they help.

    With one class, every object has a colour of its own. With several classes, every class has one, and the best of the
    large objects are named. Small images are enlarged, and huge ones reduced.

    Args:
        image: [h, w, 3] uint8 RGB.
        results: the objects, best first, in pixels of the image; without a score where they are annotated.
        class_names: name of each category id.

    Returns:
        The drawing, [h', w', 3] uint8 RGB.
    """
    height, width = image.shape[:2]
    scale = float(np.clip(max(height, width), SMALLEST, LARGEST)) / max(height, width)
    shape = max(1, round(height * scale)), max(1, round(width * scale))
    interpolation = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
    scene: NDArray[np.uint8] = cv2.resize(image, shape[::-1], interpolation=interpolation)  # type: ignore[assignment]
    classes = list(class_names)
    labels = np.array([classes.index(result["category_id"]) for result in results], np.int64)
    colours = labels if len(classes) > 1 else np.arange(len(results))
    masks = sv.MaskAnnotator(COLOURS, opacity=0.35)
    outlines = sv.PolygonAnnotator(COLOURS, thickness=1 if len(results) >= CROWDED else 2)
    for start in range(0, len(results), MASKS_AT_ONCE):
        chunk = slice(start, start + MASKS_AT_ONCE)
        detections = sv.Detections(
            xyxy=_corners(results[chunk], scale),
            mask=np.stack([_drawn_mask(result, shape) for result in results[chunk]]),
        )
        scene = masks.annotate(scene, detections, custom_color_lookup=colours[chunk])
        scene = outlines.annotate(scene, detections, custom_color_lookup=colours[chunk])
    return _write_names(scene, results, class_names, scale) if len(classes) > 1 else scene


def _write_names(
    scene: NDArray[np.uint8], results: Sequence[Result], class_names: Mapping[int, str], scale: float
) -> NDArray[np.uint8]:
    corners = _corners(results, scale)
    sizes = corners[:, 2:] - corners[:, :2]
    large = np.flatnonzero(sizes.prod(axis=1) >= NAMED_SHARE * scene.shape[0] * scene.shape[1])[:MOST_NAMES]
    if not len(large):
        return scene
    classes = list(class_names)
    named = [results[index] for index in large]
    detections = sv.Detections(
        xyxy=corners[large], class_id=np.array([classes.index(result["category_id"]) for result in named])
    )
    annotator = sv.LabelAnnotator(COLOURS, text_color=TEXT_COLOURS, text_scale=0.4, text_padding=3, smart_position=True)
    texts = [_caption(result, class_names) for result in named]
    return annotator.annotate(scene, detections, texts)


def _caption(result: Result, class_names: Mapping[int, str]) -> str:
    """A name, and the score where there is one: annotated objects have none."""
    name = class_names[result["category_id"]]
    return f"{name} {result['score']:.2f}" if "score" in result else name


def _corners(results: Sequence[Result], scale: float) -> NDArray[np.float64]:
    boxes = np.array([result["bbox"] for result in results], np.float64).reshape(-1, 4)
    return np.hstack([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]]) * scale


def _drawn_mask(result: Result, shape: tuple[int, int]) -> NDArray[np.bool_]:
    rle = result["segmentation"]
    height, width = rle["size"]
    if max(height, width) >= HUGE:
        return on_grid(rle, (0, 0, width, height), shape)
    [mask] = decode([rle], height, width)
    return cv2.resize(mask.view(np.uint8) * 255, shape[::-1], interpolation=cv2.INTER_LINEAR) >= 128
