"""Images with as many objects as are wanted: a part of each is covered, and what an engine finds is counted.

The engines are the user's, and what they find is their own affair. Covering changes only what they see: the network's
input keeps its size, and nothing is taken from or added to what an engine does.
"""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from benchmarks.harness.worker import Worker
from benchmarks.scaling.report import Cover, Setting
from refinemask.data.images import read_image

OPEN_SHARES = (0.0, *(2.0 ** (-step / 2) for step in range(12, -1, -1)))
"""Shares of an image's width that stay open: finer where few objects are left."""
TOLERANCE = 0.25
"""How far the number of detections may be from the wanted one, as a share of it."""
FEWEST = 2
"""Covered images of each number, so that no single picture stands for it."""


def write_cover(image: Path, open_share: float, folder: Path) -> Path:
    """Write the image, covered but for its right part by its own mean colour, and return the file."""
    path = folder / f"{open_share:.4f}-{image.name}.png"
    if not path.exists():
        pixels = read_image(image).copy()
        pixels[:, : round((1 - open_share) * pixels.shape[1])] = pixels.mean((0, 1)).round()
        Image.fromarray(pixels).save(path)
    return path


def find_covers(
    worker: Worker, images: Sequence[Path], wanted: Sequence[int], base: Setting, folder: Path
) -> list[Cover]:
    """The covered images that give the wanted numbers of detections most closely, a few for each number.

    A number that none comes near to has no image here.

    Args:
        worker: the engine that tries the images out.
        images: the images.
        wanted: numbers of detections.
        base: size and batch of the trial.
        folder: directory for the covered images.

    Raises:
        UserError: the engine cannot run, or an image cannot be read.
    """
    tried = [(image, share) for share in OPEN_SHARES for image in images]
    found: list[int] = []
    for start in range(0, len(tried), base.batch):
        paths = [write_cover(image, share, folder) for image, share in tried[start : start + base.batch]]
        sample, _ = worker.process(filled(paths, base.batch)[0], base.size)
        found += sample.detections[: len(paths)]
    covers = []
    for number in wanted:
        near = [index for index in range(len(tried)) if abs(found[index] - number) <= TOLERANCE * number]
        near.sort(key=lambda index: abs(found[index] - number))
        for index in near[: max(FEWEST, base.batch)]:
            image, share = tried[index]
            covers.append(Cover(image=image.name, open_share=share, found=found[index], wanted=number))
    return covers


def filled(paths: Sequence[Path], batch: int) -> list[list[Path]]:
    """Batches of all images, which begin again where the last batch is not full."""
    count = -(-len(paths) // batch) * batch
    cycled = [paths[number % len(paths)] for number in range(count)]
    return [cycled[start : start + batch] for start in range(0, count, batch)]
