"""From a decoded image to the network's input: ours against the usual route, in turns on one thread.

``python -m benchmarks.preprocess``
"""

import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tyro
from numpy.typing import NDArray

from benchmarks.harness.measure import require_at_least
from benchmarks.harness.provenance import provenance
from benchmarks.harness.summary import paired_ratio, summarize
from refinemask.bundled import PHOTO
from refinemask.config import Preprocessing
from refinemask.data.images import read_image
from refinemask.data.transforms import STRIDE, preprocess, resize, resize_shape
from refinemask.files import UserError

PREPROCESSING = Preprocessing()
MEAN, STD = (np.array([*values, 0.0]) for values in (PREPROCESSING.mean, PREPROCESSING.std))
"""As OpenCV takes scalars: of four channels."""


@dataclass(frozen=True)
class Args:
    """Time resizing, normalising and padding one photograph, and check that the network sees the same either way."""

    image: Path = PHOTO
    rounds: int = 50


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
    """Print both times and their ratio as JSON; 1 if the network would see something else, 2 for bad input."""
    args = args or tyro.cli(Args, description=__doc__)
    try:
        require_at_least(1, rounds=args.rounds)
        image = read_image(args.image)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
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
    difference = float(np.abs(seen - results["usual"]).max())
    report = {
        "provenance": provenance([args.image]),
        "rounds": args.rounds,
        "image": list(image.shape[:2]),
        "input": list(seen.shape),
        "bytes": {name: result.nbytes for name, result in results.items()},
        "milliseconds": {name: asdict(summarize([1e3 * each for each in values])) for name, values in seconds.items()},
        "ratio": asdict(paired_ratio(seconds["usual"], seconds["ours"])),
        "largest_difference": difference,
    }
    print(json.dumps(report, indent=2))
    if difference > 1e-5:
        print(f"error: the network's input differs by {difference:.1e}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
