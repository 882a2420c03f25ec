"""Pasting and encoding masks: ours against the usual route, taking turns in one process on one thread; and ours on
several threads.

Where there is a GPU and the kernels are built, they take their turn too, on masks that are in the GPU's memory.

python -m benchmarks.paste
"""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from torch import Tensor

from benchmarks.harness.provenance import Provenance, provenance
from benchmarks.harness.random_detections import random_detections
from benchmarks.harness.report_file import ABSENT_IF_NONE, print_json
from benchmarks.harness.summary import Quartiles, quartiles
from engines import on_device
from refinemask.command import execute
from refinemask.crossings import THRESHOLD
from refinemask.files import FailedCheckError
from refinemask.masks import paste_rle
from refinemask.options import require_at_least
from refinemask.spelling import OldSide, Size
from trt_plugins.torch_kernels import TorchKernels

SIZE = (800, 1333)
"""Height and width of the image, unless others are asked for."""
OLD = {name: OldSide("--size", place, SIZE) for place, name in enumerate(("--height", "--width"))}


@dataclass(frozen=True)
class Args:
    """Time paste + run-length encoding of one image's detections and check that both routes give the same strings."""

    detections: int = 100
    """Number of detections."""
    size: Size = SIZE
    """Height and width of the image in pixels."""
    mask_size: int = 112
    """Side of the predicted masks: 112 for RefineMask, 28 for Mask R-CNN."""
    box_share: float = 0.1
    """Mean share of the image that a box covers, before it is clipped."""
    rounds: int = 15
    """Times that each route runs."""
    threads: int = 2
    """Threads that paste at once at most: images a second are counted for 1, 2 and so on."""
    seed: int = 0
    """Seed of masks and boxes."""


@dataclass(frozen=True, kw_only=True)
class PasteReport:
    """All routes on the same masks."""

    provenance: Provenance | None = field(default=None, metadata=ABSENT_IF_NONE)
    detections: int
    height: int
    width: int
    mask_size: int
    box_share: float
    rounds: int
    seed: int
    rle_bytes: int
    """Bytes of all run-length strings together."""
    milliseconds: dict[str, Quartiles]
    """Wall-clock time by route: ``usual``, ``ours`` and, where a GPU can be used, ``gpu``, strings on the host."""
    ratio: Quartiles
    """The usual route's time over ours, paired per round."""
    images_per_second: dict[str, Quartiles] | None = field(default=None, metadata=ABSENT_IF_NONE)
    """What our route does in 1, 2, … threads, by their number; the numbers take turns."""
    threads_ratio: Quartiles | None = field(default=None, metadata=ABSENT_IF_NONE)
    """Images a second of the most threads over those of one, paired per round."""


def paste_per_box(masks: Tensor, boxes: Tensor, height: int, width: int) -> NDArray[np.bool_]:
    """The usual route: a ``grid_sample`` per box, written into one full-size mask each.

    Computes in the masks' dtype, so that float64 gives a reference for float32.

    Args:
        masks: [N, M, M] probabilities.
        boxes: [N, 4] (x1, y1, x2, y2) in pixels of the image.

    Returns:
        [N, height, width] boolean masks.
    """
    pasted = torch.zeros(len(masks), height, width, dtype=torch.bool)
    for target, mask, (x1, y1, x2, y2) in zip(pasted, masks, boxes.to(masks.dtype), strict=True):
        left, right = max(int(x1.floor()) - 1, 0), min(int(x2.ceil()) + 1, width)
        top, bottom = max(int(y1.floor()) - 1, 0), min(int(y2.ceil()) + 1, height)
        if left >= right or top >= bottom:
            continue
        x = (torch.arange(left, right, dtype=masks.dtype) + 0.5 - x1) / (x2 - x1) * 2 - 1
        y = (torch.arange(top, bottom, dtype=masks.dtype) + 0.5 - y1) / (y2 - y1) * 2 - 1
        x[x.isinf()] = 0
        y[y.isinf()] = 0
        grid = torch.stack([x.expand(len(y), -1), y[:, None].expand(-1, len(x))], dim=-1)
        sampled = F.grid_sample(mask[None, None], grid[None], align_corners=False)[0, 0]
        target[top:bottom, left:right] = sampled >= THRESHOLD
    return pasted.numpy()


def usual_route(masks: Tensor, boxes: Tensor, height: int, width: int) -> list[bytes]:
    """Run-length strings as mmdetection makes them: full masks, each copied to Fortran order and encoded."""
    pasted = paste_per_box(masks, boxes, height, width)
    return [coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))["counts"] for mask in pasted]


def our_route(masks: Tensor, boxes: Tensor, height: int, width: int) -> list[bytes]:
    """Run-length strings from :func:`refinemask.masks.paste_rle`."""
    return [rle["counts"] for rle in paste_rle(masks.numpy(), boxes.numpy(), height, width)]


def gpu_route(kernels: TorchKernels, masks: Tensor, boxes: Tensor, height: int, width: int) -> list[bytes]:
    """Run-length strings from :func:`engines.on_device.paste_rle`."""
    return [rle["counts"] for rle in on_device.paste_rle(kernels, masks, boxes, height, width)]


def make_routes(masks: Tensor, boxes: Tensor, height: int, width: int) -> dict[str, Callable[[], list[bytes]]]:
    """The ways to get the run-length strings of the same masks, by name."""
    image = masks, boxes, height, width
    routes: dict[str, Callable[[], list[bytes]]]
    routes = {"usual": partial(usual_route, *image), "ours": partial(our_route, *image)}
    kernels = on_device.device_kernels() if torch.cuda.is_available() else None
    if kernels is not None:
        routes["gpu"] = partial(gpu_route, kernels, masks.cuda(), boxes.cuda(), height, width)
    return routes


def images_per_second(route: Callable[[], object], *, threads: int, runs: int = 10) -> float:
    """How many images threads of one process paste together, each of them so many."""
    with ThreadPoolExecutor(threads) as pool:
        start = time.perf_counter()
        for done in [pool.submit(route) for _ in range(threads * runs)]:
            done.result()
        return threads * runs / (time.perf_counter() - start)


def main(args: Args | None = None) -> int:
    """Print all times, their ratios and the number of bytes as JSON; exit code 1 if a string differs."""
    return execute(Args, lambda args: print_json(measure(args)), args, description=__doc__, old=OLD)


def measure(args: Args) -> PasteReport:
    """Let all routes take turns.

    Raises:
        UserError: no round is asked for.
        FailedCheckError: a run-length string differs.
    """
    require_at_least(1, rounds=args.rounds, threads=args.threads)
    torch.set_num_threads(1)
    height, width = args.size
    masks, boxes = random_detections(
        args.detections,
        height,
        width,
        mask_size=args.mask_size,
        box_share=args.box_share,
        seed=args.seed,
    )
    routes = make_routes(masks, boxes, height, width)
    milliseconds: dict[str, list[float]] = {name: [] for name in routes}
    for number in range(-2, args.rounds):
        strings = {}
        for name, route in routes.items():
            start = time.perf_counter()
            strings[name] = route()
            if number >= 0:
                milliseconds[name].append((time.perf_counter() - start) * 1e3)
        for name, found in strings.items():
            different = sum(a != b for a, b in zip(strings["usual"], found, strict=True))
            if different:
                raise FailedCheckError(f"{different} of {args.detections} run-length strings differ by route '{name}'")
    speeds = [
        [images_per_second(routes["ours"], threads=threads) for threads in range(1, args.threads + 1)]
        for _ in range(args.rounds)
    ]
    ratios = [usual / ours for usual, ours in zip(milliseconds["usual"], milliseconds["ours"], strict=True)]
    return PasteReport(
        provenance=provenance(),
        detections=args.detections,
        height=height,
        width=width,
        mask_size=args.mask_size,
        box_share=args.box_share,
        rounds=args.rounds,
        seed=args.seed,
        rle_bytes=sum(map(len, strings["ours"])),
        milliseconds={name: quartiles(values) for name, values in milliseconds.items()},
        ratio=quartiles(ratios),
        images_per_second={str(n): quartiles(values) for n, values in enumerate(zip(*speeds, strict=True), 1)},
        threads_ratio=quartiles([each[-1] / each[0] for each in speeds]),
    )


if __name__ == "__main__":
    raise SystemExit(main())
