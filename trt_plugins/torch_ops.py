"""The kernels as the CUDA implementation of the ``refinemask::`` torch operators.

The eager definitions in ``refinemask.ops`` stay the implementation everywhere else, and the reference to test against.
Nothing here waits for the device or copies to the host, so that a forward pass can be captured as a CUDA graph.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from refinemask.ops import boundary_merge, fixed_nms, multilevel_roi_align
from refinemask.ops.roi_align import empty_pooled, has_inner_channels
from trt_plugins import kernels_path
from trt_plugins.c_api import (
    BFLOAT16,
    FLOAT,
    HALF,
    INTERLEAVED,
    MAX_LEVELS,
    MAX_NMS_BOXES,
    PLANAR,
    FeatureMap,
    Kernels,
)

_TYPES = {torch.float32: FLOAT, torch.float16: HALF, torch.bfloat16: BFLOAT16}
_VECTOR_BYTES = 16
_WORKSPACE_ALIGNMENT = 256


def enable_if_available() -> bool:
    """:func:`enable` if there is a CUDA device and the kernel library has been built; returns whether that is so."""
    try:
        path = kernels_path()
    except FileNotFoundError:
        return False
    if not torch.cuda.is_available():
        return False
    enable(Kernels(path))
    return True


def enable(kernels: Kernels, device_type: str = "cuda") -> None:
    """From now on run the operators with these kernels on tensors of ``device_type``.

    What the kernels do not take (float64 maps, more than 4096 boxes per group) still goes to the eager definition.
    """
    implementation = TorchKernels(kernels)

    @multilevel_roi_align.register_kernel(device_type)
    def _(features: Sequence[Tensor], rois: Tensor, output_size: int, sampling_ratio: int, finest_scale: int) -> Tensor:
        if features[0].dtype in _TYPES and rois.dtype == torch.float32 and len(features) <= MAX_LEVELS:
            return implementation.multilevel_roi_align(features, rois, output_size, sampling_ratio, finest_scale)
        with multilevel_roi_align.set_kernel_enabled(device_type, False):
            return multilevel_roi_align(features, rois, output_size, sampling_ratio, finest_scale)

    @fixed_nms.register_kernel(device_type)
    def _(boxes: Tensor, scores: Tensor, iou_threshold: float, k: int) -> tuple[Tensor, Tensor]:
        if boxes.dtype == scores.dtype == torch.float32 and boxes.shape[1] <= MAX_NMS_BOXES:
            return implementation.fixed_nms(boxes, scores, iou_threshold, k)
        with fixed_nms.set_kernel_enabled(device_type, False):
            return fixed_nms(boxes, scores, iou_threshold, k)

    @boundary_merge.register_kernel(device_type)
    def _(coarse: Tensor, fine: Tensor) -> Tensor:
        if coarse.dtype == fine.dtype == torch.float32:
            return implementation.boundary_merge(coarse, fine)
        with boundary_merge.set_kernel_enabled(device_type, False):
            return boundary_merge(coarse, fine)


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
        pixel_stride = 0
        if not interleaved:
            features = [feature.contiguous() for feature in features]
        elif all(_has_pixel_stride(feature, features[0].stride(3)) for feature in features):
            pixel_stride = features[0].stride(3)
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
                type=_TYPES[pooled.dtype],
                layout=INTERLEAVED if interleaved else PLANAR,
                pixel_stride=pixel_stride,
                stream=stream,
            )
        return pooled if result is pooled else pooled.copy_(result)

    def fixed_nms(self, boxes: Tensor, scores: Tensor, iou_threshold: float, k: int) -> tuple[Tensor, Tensor]:
        """``refinemask.ops.fixed_nms``, for at most 4096 boxes per group."""
        groups, num_boxes = scores.shape
        boxes, scores = boxes.contiguous(), scores.contiguous()
        indices = boxes.new_empty(groups, k, dtype=torch.int32)
        num_kept = boxes.new_empty(groups, dtype=torch.int32)
        size = self.kernels.fixed_nms_workspace(groups, num_boxes)
        workspace = boxes.new_empty(size + _WORKSPACE_ALIGNMENT, dtype=torch.uint8)
        address = -(-workspace.data_ptr() // _WORKSPACE_ALIGNMENT) * _WORKSPACE_ALIGNMENT
        with _on_device(boxes) as stream:
            self.kernels.fixed_nms(
                boxes.data_ptr(),
                scores.data_ptr(),
                indices.data_ptr(),
                num_kept.data_ptr(),
                address,
                groups=groups,
                num_boxes=num_boxes,
                iou_threshold=iou_threshold,
                k=k,
                stream=stream,
            )
        return indices, num_kept

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


@contextmanager
def _on_device(tensor: Tensor) -> Iterator[int]:
    """Make the tensor's device the current one, and yield the handle of the device's current stream."""
    if not tensor.is_cuda:
        yield 0
        return
    with torch.cuda.device(tensor.device):
        yield torch.cuda.current_stream().cuda_stream


def _has_pixel_stride(feature: Tensor, stride: int) -> bool:
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
