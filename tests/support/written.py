"""Items of a stream and what was found in them, made by hand; and the way of an image through a writer."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from refinemask.config import ModelConfig, Window
from refinemask.files import UserError
from refinemask.prediction import Prediction
from refinemask.sources.item import Video
from refinemask.writers.mp4 import playable_rate
from refinemask.writers.writer import Writer

HEIGHT, WIDTH = 20, 30
CONFIG = ModelConfig(class_names=("cat", "dog"), category_ids=(4, 9))
PIXELS = np.full((HEIGHT, WIDTH, 3), 153, np.uint8)
BROKEN = UserError("broken")


@dataclass(frozen=True)
class Still:
    """An item that nobody reads."""

    name: str
    path: Path | None
    place: PurePosixPath
    video: Video | None = None
    index: int | None = None
    seconds: float | None = None

    def read(self, window: Window | None) -> NDArray[np.uint8]:
        raise AssertionError("writers get the pixels")


def still(path: Path, place: str = "") -> Still:
    """An image file."""
    return Still(str(path), path, PurePosixPath(place or path.stem))


def clip(stem: str = "clip", fps: float = 10.0, path: Path | None = None) -> Video:
    """A video."""
    return Video(name=f"{stem}.mp4", stem=stem, path=path, fps=fps, frames=None)


def frame(video: Video, index: int) -> Still:
    """A frame of it, in time."""
    place = PurePosixPath(video.stem) / f"{index:06}"
    return Still(f"{video.name}: frame {index}", None, place, video, index, index / playable_rate(video.fps))


def boxes_of(*corners: tuple[int, int, int, int], shape: tuple[int, int] = (HEIGHT, WIDTH)) -> NDArray[np.bool_]:
    """Masks [N, height, width] of boxes (x1, y1, x2, y2)."""
    masks = np.zeros((len(corners), *shape), bool)
    for mask, (x1, y1, x2, y2) in zip(masks, corners, strict=True):
        mask[y1:y2, x1:x2] = True
    return masks


def prediction(
    masks: NDArray[np.bool_],
    labels: Sequence[int] | None = None,
    config: ModelConfig = CONFIG,
    path: Path | None = None,
) -> Prediction:
    """What is found in an image: masks [N, height, width], with falling scores from 0.9 on."""
    count, height, width = masks.shape
    rles = [coco_mask.encode(np.asfortranarray(mask.astype(np.uint8))) for mask in masks]
    boxes = np.array([coco_mask.toBbox(rle) for rle in rles], np.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return Prediction(
        path=path,
        height=height,
        width=width,
        boxes=boxes,
        scores=np.linspace(0.9, 0.1, count, dtype=np.float32),
        labels=np.zeros(count, np.int64) if labels is None else np.array(labels, np.int64),
        rles=rles,
        config=config,
    )


def put(writer: Writer, item: Still, found: Prediction, pixels: NDArray[np.uint8] | None = None) -> Any:
    """Render and write an image, and return what was rendered."""
    if pixels is None:
        pixels = np.full((found.height, found.width, 3), 153, np.uint8)
    rendered = writer.render(item, found, pixels)
    writer.write(item, found, rendered)
    return rendered
