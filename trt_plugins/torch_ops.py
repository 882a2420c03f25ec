"""The kernels as the CUDA implementation of the ``refinemask::`` torch operators.

The eager definitions in ``refinemask.ops`` stay the implementation everywhere else, and the reference to test against.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor

from refinemask.ops import boundary_merge, fixed_nms, multilevel_roi_align, top_k, top_k_segments
from trt_plugins import kernels_path
from trt_plugins.c_api import (
    MAX_NMS_BOXES,
    MAX_TOP_K,
    Kernels,
)
from trt_plugins.problems import MAX_LEVELS, MAX_TOP_K_SEGMENTS
from trt_plugins.torch_kernels import TYPES, TorchKernels

_OPERATORS = multilevel_roi_align, fixed_nms, top_k, top_k_segments, boundary_merge
_enabled: set[str] = set()
"""Types of the devices that the kernels are registered for."""


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
    _enabled.add(device_type)

    @multilevel_roi_align.register_kernel(device_type)
    def _(features: Sequence[Tensor], rois: Tensor, output_size: int, sampling_ratio: int, finest_scale: int) -> Tensor:
        if features[0].dtype in TYPES and rois.dtype == torch.float32 and len(features) <= MAX_LEVELS:
            return implementation.multilevel_roi_align(features, rois, output_size, sampling_ratio, finest_scale)
        with multilevel_roi_align.set_kernel_enabled(device_type, False):
            return multilevel_roi_align(features, rois, output_size, sampling_ratio, finest_scale)

    @fixed_nms.register_kernel(device_type)
    def _(boxes: Tensor, scores: Tensor, iou_threshold: float, k: int) -> tuple[Tensor, Tensor]:
        if boxes.dtype == scores.dtype == torch.float32 and boxes.shape[1] <= MAX_NMS_BOXES:
            return implementation.fixed_nms(boxes, scores, iou_threshold, k)
        with fixed_nms.set_kernel_enabled(device_type, False):
            return fixed_nms(boxes, scores, iou_threshold, k)

    @top_k.register_kernel(device_type)
    def _(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
        if scores.dtype == torch.float32 and k <= MAX_TOP_K:
            return implementation.top_k(scores, k)
        with top_k.set_kernel_enabled(device_type, False):
            return top_k(scores, k)

    @top_k_segments.register_kernel(device_type)
    def _(scores: Tensor, lengths: Sequence[int], k: int) -> tuple[Tensor, Tensor]:
        if scores.dtype == torch.float32 and k <= MAX_TOP_K and 1 <= len(lengths) <= MAX_TOP_K_SEGMENTS:
            return implementation.top_k_segments(scores, lengths, k)
        with top_k_segments.set_kernel_enabled(device_type, False):
            return top_k_segments(scores, lengths, k)

    @boundary_merge.register_kernel(device_type)
    def _(coarse: Tensor, fine: Tensor) -> Tensor:
        if coarse.dtype == fine.dtype == torch.float32:
            return implementation.boundary_merge(coarse, fine)
        with boundary_merge.set_kernel_enabled(device_type, False):
            return boundary_merge(coarse, fine)


@contextmanager
def disabled(device_type: str = "cuda") -> Iterator[None]:
    """Run the eager definitions, torchvision's operators, on tensors of ``device_type`` while this is open.

    This holds for the whole process.
    """
    with ExitStack() as stack:
        for operator in _OPERATORS if device_type in _enabled else ():
            stack.enter_context(operator.set_kernel_enabled(device_type, False))
        yield
