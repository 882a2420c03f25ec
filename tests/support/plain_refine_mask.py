"""RefineMask's heads step by step from the description of the official model, without any rearrangement.

Written for reading, not for speed: all classes are predicted, everything is concatenated, nothing is moved across
an interpolation. It shares only weights with the code under test.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import roi_align


def conv_relu(x: Tensor, conv: Any) -> Tensor:
    return F.relu(F.conv2d(x, conv.weight, conv.bias, padding=conv.padding, dilation=conv.dilation))


def resize(x: Tensor, size: int, align_corners: bool) -> Tensor:
    return F.interpolate(x, size=(size, size), mode="bilinear", align_corners=align_corners)


def pick(logits: Tensor, labels: Tensor) -> Tensor:
    labels = labels if logits.shape[1] > 1 else torch.zeros_like(labels)
    return logits[torch.arange(len(labels)), labels][:, None]


def instance_features(head: Any, pyramid: list[Tensor], rois: Tensor) -> Tensor:
    size = ((rois[:, 3] - rois[:, 1]) * (rois[:, 4] - rois[:, 2])).sqrt()
    levels = torch.floor(torch.log2(size / 56 + 1e-6)).clamp(0, 3)
    out = pyramid[0].new_zeros(len(rois), pyramid[0].shape[1], 14, 14)
    for level in range(4):
        chosen = levels == level
        out[chosen] = roi_align(pyramid[level], rois[chosen], 14, 1 / (4 << level), 0, aligned=True)
    for layer in head.instance_convs:
        if hasattr(layer, "weight"):
            out = conv_relu(out, layer)
    return out


def semantic_map(head: Any, p2: Tensor) -> Tensor:
    for layer in head.semantic_convs:
        if hasattr(layer, "weight"):
            p2 = conv_relu(p2, layer)
    return p2


def original(head: Any, pyramid: list[Tensor], rois: Tensor, labels: Tensor) -> tuple[list[Tensor], Tensor]:
    s_map = semantic_map(head, pyramid[0])
    semantic_logits = F.conv2d(s_map, head.semantic_logits.weight, head.semantic_logits.bias)
    features = instance_features(head, pyramid, rois)
    outputs = []
    for stage, predictor, size in zip(head.stages, head.instance_logits, (14, 28, 56), strict=False):
        transformed = conv_relu(s_map, stage.semantic_transform_in)
        pooled = conv_relu(roi_align(transformed, rois, size, 0.25, 0, aligned=True), stage.semantic_transform_out)
        logits = pick(F.conv2d(features, predictor.weight, predictor.bias), labels)
        outputs.append(logits)
        m_sem = roi_align(semantic_logits.sigmoid(), rois, size, 0.25, 0, aligned=True)
        x = conv_relu(torch.cat([features, pooled, logits.sigmoid(), m_sem], 1), stage.fuse)
        x = torch.stack([conv_relu(x, conv) for conv in stage.fusion.dilated_convs]).sum(0)
        x = conv_relu(conv_relu(x, stage.fusion.merge), stage.transform_out)
        x = F.relu(resize(x, 2 * size, False))
        features = torch.cat([x, resize(logits.sigmoid(), 2 * size, True), resize(m_sem, 2 * size, True)], 1)
    last = head.instance_logits[3]
    outputs.append(pick(F.conv2d(features, last.weight, last.bias), labels))
    return outputs, semantic_logits


def sample_points(features: Tensor, rois: Tensor, size: int) -> Tensor:
    """Bilinear values at the bin centres, zero outside the map."""
    pooled = []
    for roi in rois:
        x = roi[1] + (torch.arange(size, dtype=roi.dtype) + 0.5) * (roi[3] - roi[1]) / size
        y = roi[2] + (torch.arange(size, dtype=roi.dtype) + 0.5) * (roi[4] - roi[2]) / size
        height, width = features.shape[2:]
        u, v = 2 * x / (4 * width) - 1, 2 * y / (4 * height) - 1
        grid = torch.stack([u[None, :].expand(size, size), v[:, None].expand(size, size)], -1)[None]
        image = features[int(roi[0])][None]
        pooled.append(F.grid_sample(image, grid.to(image.dtype), mode="bilinear", align_corners=False))
    return torch.cat(pooled)


def simple(head: Any, pyramid: list[Tensor], rois: Tensor, labels: Tensor) -> tuple[list[Tensor], None]:
    s_map = semantic_map(head, pyramid[0])
    features = instance_features(head, pyramid, rois)
    outputs = []
    for stage, predictor, size in zip(head.stages, head.instance_logits, (14, 28, 56), strict=False):
        pooled = sample_points(conv_relu(s_map, stage.semantic_transform_in), rois, size)
        logits = pick(F.conv2d(features, predictor.weight, predictor.bias), labels)
        outputs.append(logits)
        x = conv_relu(torch.cat([features, pooled, logits.sigmoid()], 1), stage.fuse)
        x = sum(conv_relu(x, conv) for conv in stage.fusion.dilated_convs) + x.mean((2, 3), keepdim=True)
        x = conv_relu(conv_relu(x, stage.fusion.merge), stage.transform_out)
        features = torch.cat([x, logits.sigmoid()], 1)
        if size < 56:
            features = resize(features, 2 * size, False)
    last = head.instance_logits[3]
    outputs.append(resize(pick(F.conv2d(features, last.weight, last.bias), labels), 112, True))
    return outputs, None
