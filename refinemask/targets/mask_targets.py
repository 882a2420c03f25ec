"""Ground-truth masks in the form the losses want them."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import roi_align

from refinemask.data.geometry import Bitmap, Polygons, rasterise


def mask_targets(
    masks: Sequence[Polygons | Bitmap], boxes: Tensor, owners: Tensor, sizes: Sequence[int]
) -> list[Tensor]:
    """What the mask head should predict for each RoI, rasterised anew at every size.

    Args:
        masks: the ground-truth instances of one image.
        boxes: [P, 4] RoIs on that image, xyxy.
        owners: [P] index of each RoI's instance.
        sizes: side lengths n of the targets.

    Returns:
        One float32 [P, n, n] of 0 and 1 per size, on the device of ``boxes``.
    """
    targets = [torch.zeros((len(boxes), n, n), device=boxes.device) for n in sizes]
    host_boxes, host_owners = boxes.detach().float().cpu(), owners.cpu()
    for owner in host_owners.unique().tolist():
        rows = (host_owners == owner).nonzero().squeeze(1)
        places = rows.to(boxes.device)
        for target, n in zip(targets, sizes, strict=True):
            target[places] = _crop(masks[owner], host_boxes[rows], n, boxes.device)
    return targets


def _crop(mask: Polygons | Bitmap, boxes: Tensor, n: int, device: torch.device) -> Tensor:
    if isinstance(mask, np.ndarray):
        return crop_bitmap(mask, boxes, n, device)
    crops = [torch.from_numpy(crop_polygons(mask, box, n)) for box in boxes.numpy()]
    return torch.stack(crops).to(device).float()


def crop_polygons(polygons: Polygons, box: NDArray[np.float32], n: int) -> NDArray[np.uint8]:
    """Shift the polygons by the box's corner, scale the box to n × n and rasterise as the COCO API does: [n, n]."""
    corner = box[:2].astype(np.float64)
    scale = n / np.maximum(box[2:] - box[:2], np.float32(1)).astype(np.float64)
    return rasterise([((part.reshape(-1, 2) - corner) * scale).ravel() for part in polygons], n, n)


def crop_bitmap(bitmap: Bitmap, boxes: Tensor, n: int, device: torch.device | str = "cpu") -> Tensor:
    """RoIAlign (aligned, adaptive sampling) of the 0/1 map for boxes [P, 4], then ``>= 0.5``: float32 [P, n, n].

    The boxes are on the host. A large object has many samples, so they are taken on ``device``, where the result stays.
    """
    # Only the pixels that some sample reads become floats. The map's own border, where RoIAlign clamps, stays a border.
    corner = (boxes[:, :2].amin(dim=0) - 1).floor().clamp(min=0)
    (left, top), (right, bottom) = corner.int().tolist(), (boxes[:, 2:].amax(dim=0) + 2).ceil().int().tolist()
    # NumPy takes a flipped map of one column for contiguous, and PyTorch refuses its negative stride: hence the copy.
    window = torch.from_numpy(bitmap[top:bottom, left:right].copy()).to(device).float()
    shifted = (boxes - corner.repeat(2)).to(device)
    pooled = roi_align(window[None, None], [shifted], output_size=n, sampling_ratio=0, aligned=True)
    return (pooled[:, 0] >= 0.5).float()


def semantic_target(
    images: Sequence[Sequence[Polygons | Bitmap]], canvas: Sequence[int], size: Sequence[int]
) -> Tensor:
    """Where any instance is, at the semantic branch's resolution.

    Args:
        images: the instances of each image.
        canvas: (height, width) of the padded batch.
        size: (height, width) of the semantic logits.

    Returns:
        float32 [B, 1, *size] of 0 and 1: the union of the masks on the canvas, resized bilinearly, ``>= 0.5``.
    """
    # A quarter of the bytes of float32, and nothing is converted for each mask.
    union = np.zeros((len(images), 1, *canvas), np.uint8)
    for plane, masks in zip(union[:, 0], images, strict=True):
        for mask in masks:
            bitmap = mask if isinstance(mask, np.ndarray) else rasterise(mask, canvas[0], canvas[1])
            height, width = bitmap.shape
            np.maximum(plane[:height, :width], bitmap, out=plane[:height, :width])
    resized = F.interpolate(torch.from_numpy(union).float(), size=tuple(size), mode="bilinear", align_corners=False)
    return (resized >= 0.5).float()
