"""The masks of two detectors side by side, and the pixels that only one of them has. Imports no PyTorch."""

from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from refinemask.contours import outlines_of
from refinemask.differences.pairing import MIN_SCORE, Pairing, pair
from refinemask.differences.view import View, choose_box, make_view
from refinemask.page.viewer import Panel, Shape, Views
from refinemask.structures import Result

SIDES = (1280, 960, 720, 540, 400, 300, 200, 100)
"""Longer side of the drawing in pixels: the first of which the picture is small enough is taken."""
QUALITY = 80
"""WebP's quality of the photograph."""
COLOURS = 8
"""Number of colours that objects have in turn."""


def draw_differences(
    pixels: NDArray[np.uint8],
    name: str,
    sides: tuple[str, str],
    results: tuple[Sequence[Result], Sequence[Result]],
    class_names: Mapping[int, str],
    *,
    annotated: Sequence[Result] | None = None,
    min_score: float = MIN_SCORE,
    most_bytes: int,
) -> Views:
    """Draw what two detectors found in an image, and where they differ.

    Outlines are those of the drawing's pixels, so they are exact where the image is not reduced.

    Args:
        pixels: [h, w, 3] uint8 RGB.
        name: name of the image.
        sides: names of the two detectors.
        results: what each of them found, in pixels of the image.
        class_names: name of each category id.
        annotated: annotated objects, for a panel of their own; None leaves it out.
        min_score: score from which on an object counts.
        most_bytes: bytes that the picture may take in a page. It is reduced until it does.
    """
    pairing = pair(*results, min_score)
    height, width = pixels.shape[:2]
    box = choose_box(height, width, _largest_difference(pairing, *results))
    for side in SIDES:
        view = make_view((height, width), box, side)
        drawing = _Drawing(view, class_names)
        panels = drawing.panels(pairing, sides, results, annotated)
        views = Views(
            name=name,
            notes=tuple(filter(None, (_counts(pairing, sides), view.note))),
            size=(view.rows, view.columns),
            photograph=_webp(view.pixels(pixels)),
            panels=panels,
        )
        if views.bytes <= most_bytes:
            break
    return views


def _counts(pairing: Pairing, sides: tuple[str, str]) -> str:
    both = len(pairing.pairs)
    text = f"{both} {'object' if both == 1 else 'objects'} in both"
    if both:
        text += f", their masks with a mean IoU of {np.mean([iou for *_, iou in pairing.pairs]):.3f}"
    for side, only in zip(sides, (pairing.only_first, pairing.only_second), strict=True):
        text += f"; {len(only)} only in {side}" if only else ""
    return text


def _largest_difference(
    pairing: Pairing, first: Sequence[Result], second: Sequence[Result]
) -> tuple[float, float, float, float]:
    """The box (x, y, w, h) of the objects whose masks differ in the most pixels, as their boxes tell."""
    alone = [*(first[i] for i in pairing.only_first), *(second[j] for j in pairing.only_second)]
    candidates = [(_box_area(result), _union_box([result])) for result in alone]
    for i, j, iou in pairing.pairs:
        box = _union_box([first[i], second[j]])
        candidates.append(((1 - iou) * box[2] * box[3], box))
    return max(candidates, default=(0.0, (0.0, 0.0, 0.0, 0.0)))[1]


def _box_area(result: Result) -> float:
    return float(result["bbox"][2] * result["bbox"][3])


def _union_box(results: Sequence[Result]) -> tuple[float, float, float, float]:
    boxes = np.array([result["bbox"] for result in results], np.float64)
    left, top = boxes[:, :2].min(axis=0)
    right, bottom = (boxes[:, :2] + boxes[:, 2:]).max(axis=0)
    return float(left), float(top), float(right - left), float(bottom - top)


class _Drawing:
    """Objects of an image as shapes of a view."""

    def __init__(self, view: View, class_names: Mapping[int, str]) -> None:
        self._view = view
        self._names = class_names

    def panels(
        self,
        pairing: Pairing,
        sides: tuple[str, str],
        results: tuple[Sequence[Result], Sequence[Result]],
        annotated: Sequence[Result] | None,
    ) -> tuple[Panel, ...]:
        # Partners have the same colour.
        left = {i: colour for colour, (i, *_) in enumerate(pairing.pairs)}
        right = {j: colour for colour, (_, j, _) in enumerate(pairing.pairs)}
        left |= {i: len(pairing.pairs) + place for place, i in enumerate(pairing.only_first)}
        right |= {j: len(left) + place for place, j in enumerate(pairing.only_second)}
        panels = [] if annotated is None else [Panel("annotations", tuple(self._annotations(annotated)))]
        for side, colours, found in zip(sides, (left, right), results, strict=True):
            # A mask is made when its turn comes, and again for the difference: all together would fill the memory.
            shapes = (
                (f"object k{colour % COLOURS}", self._view.mask(found[index]), self._title(found[index]))
                for index, colour in colours.items()
            )
            panels.append(Panel(side, tuple(_shapes(shapes))))
        panels.append(Panel("difference", tuple(_shapes(self._difference(pairing, sides, *results))), faded=True))
        return tuple(panels)

    def _annotations(self, annotated: Sequence[Result]) -> Iterable[Shape]:
        return _shapes(("annotation", self._view.mask(each), self._title(each)) for each in annotated)

    def _title(self, result: Result) -> str:
        name = self._names.get(result["category_id"], str(result["category_id"]))
        return f"{name} {result['score']:.2f}" if "score" in result else name

    def _difference(
        self,
        pairing: Pairing,
        sides: tuple[str, str],
        first: Sequence[Result],
        second: Sequence[Result],
    ) -> Iterable[tuple[str, NDArray[np.bool_], str]]:
        """The pixels of objects that both have, that only the first has, and that only the second has."""
        both, only_first, only_second = np.zeros((3, self._view.rows, self._view.columns), bool)
        for i, j, _ in pairing.pairs:
            left, right = self._view.mask(first[i]), self._view.mask(second[j])
            both |= left & right
            only_first |= left & ~right
            only_second |= right & ~left
        for i in pairing.only_first:
            only_first |= self._view.mask(first[i])
        for j in pairing.only_second:
            only_second |= self._view.mask(second[j])
        yield "both", both, "in both"
        yield "only first", only_first, f"only in {sides[0]}"
        yield "only second", only_second, f"only in {sides[1]}"


def _shapes(masks: Iterable[tuple[str, NDArray[np.bool_], str]]) -> Iterable[Shape]:
    """Shapes of classes of the style sheet, masks and titles, without those of which no pixel is seen."""
    for kind, mask, title in masks:
        if path := _path(mask):
            yield Shape(kind, path, title)


def _path(mask: NDArray[np.bool_]) -> str:
    """The outlines of a mask as the path of an SVG, filled by the even-odd rule."""
    return "".join(chain.from_iterable(_loop(outline) for outline in outlines_of(mask)))


def _loop(outline: NDArray[np.int32]) -> Iterable[str]:
    """An outline that goes to the right and then down or up in turn."""
    yield f"M{outline[0, 0]} {outline[0, 1]}"
    steps = np.diff(outline, axis=0).sum(axis=1).tolist()
    yield from (f"{'v' if place % 2 else 'h'}{step}" for place, step in enumerate(steps))
    yield "z"


def _webp(pixels: NDArray[np.uint8]) -> bytes:
    stream = BytesIO()
    Image.fromarray(pixels).save(stream, "WEBP", quality=QUALITY)
    return stream.getvalue()
