"""The kernels on PyTorch's tensors.

Nothing here waits for the device or copies to the host, so that a forward pass can be captured as a CUDA graph.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from refinemask.ops.roi_align import empty_pooled, has_inner_channels
from trt_plugins.c_api import (
    BFLOAT16,
    FLOAT,
    HALF,
    INTERLEAVED,
    PLANAR,
    FeatureMap,
    Kernels,
)

TYPES = {torch.float32: FLOAT, torch.float16: HALF, torch.bfloat16: BFLOAT16}
"""The kernels' name of each type of maps that they take."""
_VECTOR_BYTES = 16
_WORKSPACE_ALIGNMENT = 256
STRING_BYTES_PER_RUN = 2
"""Room for the strings of masks; those of smooth outlines take little more than one byte a run."""


class PastedMasks(NamedTuple):
    """Run-length encodings of pasted masks on their device; nothing has waited for them yet.

    A number of runs above the capacity, or more bytes of strings than there are, says that there was no room.
    """

    ends: Tensor
    """[B, K, capacity] int32, where the runs of each mask end: column-major pixel indices, the first ``num_runs``."""
    memory: Tensor
    """uint8: the numbers of runs and then of bytes of the strings, each int32 [B, K], and then the strings."""

    @property
    def header_bytes(self) -> int:
        """Bytes of the memory before the strings."""
        return 8 * self.ends.shape[:2].numel()

    @property
    def num_runs(self) -> Tensor:
        """[B, K] int32, 0 for padding, ``c_api.NOT_FINITE_RUNS`` where the mask or its box is not finite."""
        return self.memory[: self.header_bytes].view(torch.int32).view(2, *self.ends.shape[:2])[0]

    @property
    def num_bytes(self) -> Tensor:
        """[B, K] int32, bytes of each string."""
        return self.memory[: self.header_bytes].view(torch.int32).view(2, *self.ends.shape[:2])[1]

    @property
    def strings(self) -> Tensor:
        """uint8, COCO's compressed strings one right behind the other, of all images."""
        return self.memory[self.header_bytes :]


class TorchKernels:
    """The kernels on tensors, run on the device and the current stream of the first tensor."""

    def __init__(self, kernels: Kernels) -> None:
        self.kernels = kernels

    def multilevel_roi_align(
        self, features: Sequence[Tensor], rois: Tensor, output_size: int, sampling_ratio: int, finest_scale: int
    ) -> Tensor:
        """``refinemask.ops.multilevel_roi_align``, in the first map's memory format: planar or channels last.

        Channels-last maps, and slices of their channels, are read in place where they are whole vectors of 16 bytes;
        others are copied.

        Raises:
            ValueError: the RoIs are not [R, 5].
        """
        if rois.dim() != 2 or rois.shape[1] != 5:
            raise ValueError(f"rois are {list(rois.shape)}; expected [R, 5] (batch index, x1, y1, x2, y2)")
        batch, channels = features[0].shape[:2]
        pooled = empty_pooled(features, rois, output_size)
        interleaved = has_inner_channels(features[0]) and channels * pooled.element_size() % _VECTOR_BYTES == 0
        map_channels = 0
        if not interleaved:
            features = [feature.contiguous() for feature in features]
        elif all(_is_channels_of(feature, features[0].stride(3)) for feature in features):
            map_channels = features[0].stride(3)
        else:
            features = [feature.clone(memory_format=torch.channels_last) for feature in features]
        rois = rois.contiguous()
        result = pooled
        if not interleaved and not pooled.is_contiguous():
            result = torch.empty_like(pooled, memory_format=torch.contiguous_format)
        with _on_device(rois) as stream:
            self.kernels.roi_align(
                [FeatureMap(feature.data_ptr(), feature.shape[2], feature.shape[3]) for feature in features],
                rois.data_ptr(),
                result.data_ptr(),
                batch=batch,
                channels=channels,
                num_rois=rois.shape[0],
                output_size=output_size,
                sampling_ratio=sampling_ratio,
                finest_scale=finest_scale,
                type=TYPES[pooled.dtype],
                layout=INTERLEAVED if interleaved else PLANAR,
                map_channels=map_channels,
                stream=stream,
            )
        return pooled if result is pooled else pooled.copy_(result)

    def fixed_nms(self, boxes: Tensor, scores: Tensor, iou_threshold: float, k: int) -> tuple[Tensor, Tensor]:
        """``refinemask.ops.fixed_nms``, for at most 4096 boxes per group."""
        groups, num_boxes = scores.shape
        boxes, scores = boxes.contiguous(), scores.contiguous()
        indices = boxes.new_empty(groups, k, dtype=torch.int32)
        num_kept = boxes.new_empty(groups, dtype=torch.int32)
        workspace = _workspace(boxes, self.kernels.fixed_nms_workspace(groups, num_boxes))
        with _on_device(boxes) as stream:
            self.kernels.fixed_nms(
                boxes.data_ptr(),
                scores.data_ptr(),
                indices.data_ptr(),
                num_kept.data_ptr(),
                _aligned(workspace),
                groups=groups,
                num_boxes=num_boxes,
                iou_threshold=iou_threshold,
                k=k,
                stream=stream,
            )
        return indices, num_kept

    def top_k(self, scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """``refinemask.ops.top_k``, for ``k`` up to 4096."""
        values, indices = self.top_k_segments(scores, [scores.shape[1]], k)
        return values[0], indices[0]

    def top_k_segments(
        self, scores: Tensor, lengths: Sequence[int], k: int, index_dtype: torch.dtype = torch.int64
    ) -> tuple[Tensor, Tensor]:
        """``refinemask.ops.top_k_segments``, for ``k`` up to 4096 and up to 8 segments; indices also as int32.

        Raises:
            ValueError: the segments are not the whole of a row.
        """
        groups, num_values = scores.shape
        if sum(lengths) != num_values:
            raise ValueError(f"segments of {list(lengths)} are not a row of {num_values} scores")
        scores = scores.contiguous()
        shape = len(lengths), groups, k
        values, indices = scores.new_empty(shape), scores.new_empty(shape, dtype=index_dtype)
        workspace = _workspace(scores, self.kernels.top_k_segments_workspace(groups=groups, lengths=lengths, k=k))
        with _on_device(scores) as stream:
            self.kernels.top_k_segments(
                scores.data_ptr(),
                values.data_ptr(),
                indices.data_ptr(),
                _aligned(workspace),
                groups=groups,
                lengths=lengths,
                k=k,
                narrow_indices=index_dtype == torch.int32,
                stream=stream,
            )
        return values, indices

    def select_proposals(
        self, maps: Sequence[Tensor], base_anchors: Tensor, image_sizes: Tensor, k: int
    ) -> tuple[Tensor, Tensor]:
        """The best anchors of each level of each image as clipped boxes, for ``k`` up to 4096.

        Args:
            maps: [B, 5A, h, w] of P2 to P6, the logits of A anchors and then their deltas. They are read in place where
                all are planar, or all the first channels of channels-last ones that fill the last 16 bytes.
            base_anchors: [5, A, 4] float32 (x1, y1, x2, y2) of each level around a cell at (0, 0).
            image_sizes: [B, 2] float32 (height, width).
            k: proposals of each level.

        Returns:
            Boxes [5B, k, 4] and scores [5B, k] float32, of level after level of each image.
        """
        (batch, channels), num_anchors = maps[0].shape[:2], base_anchors.shape[1]
        vector = _VECTOR_BYTES // maps[0].element_size()
        interleaved = all(_is_channels_of(each, -(-channels // vector) * vector) for each in maps)
        maps = maps if interleaved else [each.contiguous() for each in maps]
        base_anchors, image_sizes = base_anchors.contiguous(), image_sizes.contiguous()
        boxes = base_anchors.new_empty(len(maps) * batch, k, 4)
        scores = base_anchors.new_empty(len(maps) * batch, k)
        options = {"batch": batch, "num_anchors": num_anchors, "k": k}
        sizes = [(each.shape[2], each.shape[3]) for each in maps]
        workspace = _workspace(boxes, self.kernels.select_proposals_workspace(sizes, **options))
        with _on_device(boxes) as stream:
            self.kernels.select_proposals(
                [FeatureMap(each.data_ptr(), *size) for each, size in zip(maps, sizes, strict=True)],
                base_anchors.data_ptr(),
                image_sizes.data_ptr(),
                boxes.data_ptr(),
                scores.data_ptr(),
                _aligned(workspace),
                **options,
                type=TYPES[maps[0].dtype],
                layout=INTERLEAVED if interleaved else PLANAR,
                stream=stream,
            )
        return boxes, scores

    def boundary_merge(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """``refinemask.ops.boundary_merge``."""
        coarse, fine = coarse.contiguous(), fine.contiguous()
        merged = torch.empty_like(fine)
        with _on_device(fine) as stream:
            self.kernels.boundary_merge(
                coarse.data_ptr(),
                fine.data_ptr(),
                merged.data_ptr(),
                num_rois=coarse.shape[0],
                size=coarse.shape[2],
                stream=stream,
            )
        return merged

    def label_logits(
        self, features: Tensor, masks: Tensor | None, weight: Tensor, bias: Tensor, labels: Tensor
    ) -> Tensor:
        """``refinemask.ops.label_logits`` or, with masks, ``upsampled_label_logits``; all floats are of one type.

        Channels-last features are read in place where their pixels are whole vectors of 16 bytes; others are copied.
        """
        rois, channels, size, _ = features.shape
        pixel_bytes = channels * features.element_size()
        interleaved = has_inner_channels(features) and pixel_bytes % _VECTOR_BYTES == 0
        features = features.contiguous(memory_format=torch.channels_last if interleaved else torch.contiguous_format)
        masks = None if masks is None else masks.contiguous()
        weight, bias, labels = weight.contiguous(), bias.contiguous(), labels.int().contiguous()
        side = size if masks is None else 2 * size
        logits = features.new_empty(rois, 1, side, side, dtype=torch.float32)
        with _on_device(features) as stream:
            self.kernels.label_logits(
                features.data_ptr(),
                None if masks is None else masks.data_ptr(),
                weight.data_ptr(),
                bias.data_ptr(),
                labels.data_ptr(),
                logits.data_ptr(),
                num_rois=rois,
                channels=channels,
                mask_channels=0 if masks is None else masks.shape[1],
                num_rows=weight.shape[0],
                size=size,
                type=TYPES[features.dtype],
                layout=INTERLEAVED if interleaved else PLANAR,
                stream=stream,
            )
        return logits

    def paste_rle(
        self,
        masks: Tensor,
        boxes: Tensor,
        image_shapes: Sequence[tuple[int, int]],
        *,
        capacity: int,
        scale_factors: NDArray[np.float32] | None = None,
        num_detections: Tensor | None = None,
    ) -> PastedMasks:
        """``refinemask.masks.paste_rle`` for a batch of images of any sizes.

        Args:
            masks: [B, K, M, M] probabilities.
            boxes: [B, K, 4] (x1, y1, x2, y2), in pixels of the images once they are divided by the scale factors.
            image_shapes: (height, width) of each image.
            capacity: runs of a mask that there is room for; all strings together have room for two bytes a run.
            scale_factors: [B, 4] float32; None is one.
            num_detections: [B] int64, number of real masks of each image; None is all.

        Raises:
            KernelError: an image has 2^31 pixels or more, or a side above 2^24.
        """
        batch, count, rows, columns = masks.shape
        masks, boxes = masks.float().contiguous(), boxes.float().contiguous()
        scales = np.ones((batch, 4), np.float32) if scale_factors is None else scale_factors
        valid = None if num_detections is None else num_detections.long().contiguous()
        ends = masks.new_empty(batch, count, capacity, dtype=torch.int32)
        string_capacity = STRING_BYTES_PER_RUN * ends.numel()
        memory = masks.new_empty(8 * batch * count + string_capacity, dtype=torch.uint8)
        pasted = PastedMasks(ends, memory)
        with _on_device(masks) as stream:
            for index, (height, width) in enumerate(image_shapes):
                self.kernels.paste_runs(
                    masks[index].data_ptr(),
                    boxes[index].data_ptr(),
                    None if valid is None else valid[index].data_ptr(),
                    ends[index].data_ptr(),
                    pasted.num_runs[index].data_ptr(),
                    num_masks=count,
                    rows=rows,
                    columns=columns,
                    scale=scales[index].tolist(),
                    height=height,
                    width=width,
                    capacity=capacity,
                    stream=stream,
                )
            self.kernels.rle_strings(
                ends.data_ptr(),
                pasted.num_runs.data_ptr(),
                pasted.num_bytes.data_ptr(),
                pasted.strings.data_ptr(),
                num_masks=batch * count,
                capacity=capacity,
                string_capacity=string_capacity,
                stream=stream,
            )
        return pasted


def _workspace(tensor: Tensor, size: int) -> Tensor:
    """Memory on the tensor's device with ``size`` bytes behind its first :func:`_aligned` address."""
    return tensor.new_empty(size + _WORKSPACE_ALIGNMENT, dtype=torch.uint8)


def _aligned(workspace: Tensor) -> int:
    return -(-workspace.data_ptr() // _WORKSPACE_ALIGNMENT) * _WORKSPACE_ALIGNMENT


@contextmanager
def _on_device(tensor: Tensor) -> Iterator[int]:
    """Make the tensor's device the current one, and yield the handle of the device's current stream."""
    if not tensor.is_cuda:
        yield 0
        return
    with torch.cuda.device(tensor.device):
        yield torch.cuda.current_stream().cuda_stream


def _is_channels_of(feature: Tensor, stride: int) -> bool:
    """Whether a map is channels of one [B, H, W, stride] in memory, in whole vectors."""
    _, channels, height, width = feature.shape
    strides = height * width * stride, 1, width * stride, stride
    aligned = feature.data_ptr() % _VECTOR_BYTES == stride * feature.element_size() % _VECTOR_BYTES == 0
    return (
        aligned
        and stride >= channels
        and all(
            size == 1 or found == expected
            for size, found, expected in zip(feature.shape, feature.stride(), strides, strict=True)
        )
    )
