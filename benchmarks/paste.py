"""Pasting and encoding masks: ours against the usual route, taking turns in one process on one thread.

``python -m benchmarks.paste``
"""

import json
import sys
import time
from dataclasses import asdict, dataclass
from statistics import quantiles

import numpy as np
import torch
import torch.nn.functional as F
import tyro
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from torch import Tensor

from benchmarks.harness.measure import require_at_least
from benchmarks.harness.provenance import provenance
from refinemask.files import UserError
from refinemask.masks import paste_rle


@dataclass(frozen=True)
class Args:
    """Time paste + run-length encoding of one image's detections and check that both routes give the same strings."""

    detections: int = 100
    height: int = 800
    width: int = 1333
    mask_size: int = 112
    """Side of the predicted masks: 112 for RefineMask, 28 for Mask R-CNN."""
    box_share: float = 0.1
    """Mean share of the image that a box covers, before it is clipped."""
    rounds: int = 15
    seed: int = 0


def example(args: Args) -> tuple[Tensor, Tensor]:
    """Star-shaped masks with soft edges [N, M, M], and log-normal boxes [N, 4] anywhere in the image."""
    rng = np.random.default_rng(args.seed)
    count, side = args.detections, args.mask_size
    axis = (np.arange(side) + 0.5) / side * 2 - 1
    angle, radius = np.arctan2(axis[:, None], axis), np.hypot(axis[:, None], axis)
    waves = np.array([2, 3, 5, 8])
    amplitudes, phases = rng.normal(0, 0.25 / waves, (count, 4)), rng.uniform(0, 2 * np.pi, (count, 4))
    outline = 0.8 + sum(
        amplitudes[:, k, None, None] * np.cos(waves[k] * angle + phases[:, k, None, None]) for k in range(4)
    )
    masks = torch.from_numpy((outline - radius) * 20).sigmoid().float()

    area = args.height * args.width * args.box_share * rng.lognormal(-0.32, 0.8, count)
    ratio = np.exp(rng.normal(0, 0.4, count))
    size = np.stack([np.sqrt(area * ratio), np.sqrt(area / ratio)], axis=1)
    limit = np.array([args.width, args.height])
    centre = rng.uniform(0, 1, (count, 2)) * limit
    corners = np.stack([centre - size / 2, centre + size / 2], axis=1).clip(0, limit)
    return masks, torch.from_numpy(corners.reshape(count, 4)).float()


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
        target[top:bottom, left:right] = sampled >= 0.5
    return pasted.numpy()


def usual_route(masks: Tensor, boxes: Tensor, height: int, width: int) -> list[bytes]:
    """Run-length strings as mmdetection makes them: full masks, each copied to Fortran order and encoded."""
    pasted = paste_per_box(masks, boxes, height, width)
    return [coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))["counts"] for mask in pasted]


def our_route(masks: Tensor, boxes: Tensor, height: int, width: int) -> list[bytes]:
    """Run-length strings from :func:`refinemask.masks.paste_rle`."""
    return [rle["counts"] for rle in paste_rle(masks.numpy(), boxes.numpy(), height, width)]


def main(args: Args | None = None) -> int:
    """Print both times, their ratio and the number of bytes as JSON; 1 if a string differs, 2 for bad input."""
    args = args or tyro.cli(Args, description=__doc__)
    try:
        require_at_least(1, rounds=args.rounds)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    torch.set_num_threads(1)
    masks, boxes = example(args)
    milliseconds: dict[str, list[float]] = {"usual": [], "ours": []}
    for number in range(-2, args.rounds):
        strings = {}
        for name, route in (("usual", usual_route), ("ours", our_route)):
            start = time.perf_counter()
            strings[name] = route(masks, boxes, args.height, args.width)
            if number >= 0:
                milliseconds[name].append((time.perf_counter() - start) * 1e3)
        if strings["usual"] != strings["ours"]:
            different = sum(a != b for a, b in zip(strings["usual"], strings["ours"], strict=True))
            print(f"error: {different} of {args.detections} run-length strings differ", file=sys.stderr)
            return 1
    ratios = [usual / ours for usual, ours in zip(milliseconds["usual"], milliseconds["ours"], strict=True)]
    report = {
        "provenance": provenance([]),
        **asdict(args),
        "rle_bytes": sum(map(len, strings["ours"])),
        "milliseconds": {name: _quartiles(values) for name, values in milliseconds.items()},
        "ratio": _quartiles(ratios),
    }
    print(json.dumps(report, indent=2))
    return 0


def _quartiles(values: list[float]) -> dict[str, float]:
    low, median, high = quantiles(values, n=4) if len(values) > 1 else values * 3
    return {"q1": round(low, 2), "median": round(median, 2), "q3": round(high, 2)}


if __name__ == "__main__":
    raise SystemExit(main())
