"""From a decoded image to the network's input: ours against the usual route, in turns on one thread.

python -m benchmarks.preprocess
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.harness.provenance import Provenance, provenance
from benchmarks.harness.report_file import print_json
from benchmarks.harness.summary import Percentiles, Ratio, paired_ratio, percentiles
from refinemask.bundled import PHOTO
from refinemask.command import execute
from refinemask.config import STRIDE, Preprocessing
from refinemask.data.images import read_image
from refinemask.data.transforms import preprocess, resize, resize_shape
from refinemask.files import FailedCheckError
from refinemask.options import require_at_least

PREPROCESSING = Preprocessing()
MEAN, STD = (np.array([*values, 0.0]) for values in (PREPROCESSING.mean, PREPROCESSING.std))
"""Scalars of four channels, as OpenCV takes them."""
LARGEST_DIFFERENCE = 1e-5
"""Largest difference of normalised values that float32 rounding explains."""


@dataclass(frozen=True)
class Args:
    """Time resizing, normalising and padding one photograph, and check that the network sees the same either way."""

    image: Path = PHOTO
    """Photograph to prepare."""
    rounds: int = 50
    """Times that each route runs."""


@dataclass(frozen=True, kw_only=True)
class PreprocessReport:
    """Both routes on the same photograph."""

    provenance: Provenance
    rounds: int
    image: tuple[int, ...]
    """Height and width of the photograph."""
    input: tuple[int, ...]
    """Shape [3, H, W] of the network's input."""
    bytes: dict[str, int]
    """Size of the network's input by route, ``usual`` and ``ours``."""
    milliseconds: dict[str, Percentiles]
    """Processor time by route, ``usual`` and ``ours``."""
    ratio: Ratio
    """The usual route's time over ours, paired per round."""
    largest_difference: float
    """Largest difference between the normalised values that the network computes with."""


def usual_route(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Normalised float32 [3, H, W] as mmdetection's test pipeline makes it with OpenCV."""
    height, width = resize_shape(image.shape[0], image.shape[1], PREPROCESSING)
    resized = resize(image, (height, width)).astype(np.float32)
    cv2.subtract(resized, MEAN, resized)
    cv2.multiply(resized, 1 / np.where(STD, STD, 1), resized)
    bottom, right = -height % STRIDE, -width % STRIDE
    padded = cv2.copyMakeBorder(resized, 0, bottom, 0, right, cv2.BORDER_CONSTANT, value=0)
    return np.ascontiguousarray(padded.transpose(2, 0, 1))


def our_route(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """uint8 [3, H, W]: the network normalises."""
    return preprocess([image], PREPROCESSING).images[0]


def seen_by_network(ours: NDArray[np.uint8], height: int, width: int) -> NDArray[np.float32]:
    """What the network makes of our input, of which ``height`` × ``width`` is valid."""
    normalised = (ours.astype(np.float32) - MEAN[:3, None, None]) / STD[:3, None, None]
    normalised[:, height:], normalised[:, :, width:] = 0, 0
    return normalised


def main(args: Args | None = None) -> int:
    """Print both times and their ratio as JSON; exit code 1 if the network would see something else."""
    return execute(Args, _compare_routes, args, description=__doc__)


def _compare_routes(args: Args) -> None:
    report = measure(args)
    print_json(report)
    if report.largest_difference > LARGEST_DIFFERENCE:
        raise FailedCheckError(f"the network's input differs by {report.largest_difference:.1e}")


def measure(args: Args) -> PreprocessReport:
    """Let both routes take turns.

    Raises:
        UserError: the image cannot be read, or no round is asked for.
    """
    require_at_least(1, rounds=args.rounds)
    image = read_image(args.image)
    cv2.setNumThreads(1)
    seconds: dict[str, list[float]] = {"usual": [], "ours": []}
    for number in range(-2, args.rounds):
        results: dict[str, NDArray[Any]] = {}
        for name, route in (("usual", usual_route), ("ours", our_route)):
            start = time.process_time()
            results[name] = route(image)
            if number >= 0:
                seconds[name].append(time.process_time() - start)
    height, width = resize_shape(image.shape[0], image.shape[1], PREPROCESSING)
    seen = seen_by_network(results["ours"], height, width)
    return PreprocessReport(
        provenance=provenance([args.image]),
        rounds=args.rounds,
        image=image.shape[:2],
        input=seen.shape,
        bytes={name: result.nbytes for name, result in results.items()},
        milliseconds={name: percentiles([1e3 * each for each in values]) for name, values in seconds.items()},
        ratio=paired_ratio(seconds["usual"], seconds["ours"]),
        largest_difference=float(np.abs(seen - results["usual"]).max()),
    )


if __name__ == "__main__":
    raise SystemExit(main())
