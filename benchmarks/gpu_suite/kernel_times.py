"""The kernels' times against torchvision's, the eager operators' and the bytes that must move."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torchvision.ops import batched_nms, roi_align

from benchmarks.gpu_suite.cases import MergeCase, NMSCase, RoIAlignCase, roi_align_bytes
from benchmarks.gpu_suite.timing import Timer, Timing
from refinemask.ops import boundary_merge, roi_levels
from refinemask.ops.roi_align import FINEST_SCALE
from trt_plugins.torch_ops import TorchKernels

ROTATION = 4
"""Input sets that take turns: together larger than a second-level cache."""


class KernelTime(NamedTuple):
    """One kernel on one problem."""

    name: str
    kernel: Timing
    peers: dict[str, Timing]
    """What else does the same work."""
    counted_bytes: int | None
    """Bytes that must pass through memory."""

    def to_json(self) -> dict[str, Any]:
        peers = {name: timing._asdict() for name, timing in self.peers.items()}
        return {**self._asdict(), "kernel": self.kernel._asdict(), "peers": peers}


def time_roi_align(
    kernels: TorchKernels, timer: Timer, device: str, dtype: torch.dtype, cases: Iterable[RoIAlignCase]
) -> Iterator[KernelTime]:
    """Both layouts; the peer is torchvision's kernel on each level, the RoIs sorted by level beforehand."""
    for case in cases:
        sets = [(case.features(dtype, device, False, seed), case.random_rois(device, seed)) for seed in range(ROTATION)]
        nhwc = [([f.contiguous(memory_format=torch.channels_last) for f in features], rois) for features, rois in sets]
        arguments = case.output_size, 0, FINEST_SCALE
        peer = timer([_torchvision_loop(features, rois, case.output_size) for features, rois in sets])
        counted = roi_align_bytes(*sets[0], case.output_size)
        for layout, inputs in (("planar", sets), ("channels last", nhwc)):
            work = [_call(kernels.multilevel_roi_align, features, rois, *arguments) for features, rois in inputs]
            name = f"RoIAlign {case.name}, {str(dtype).removeprefix('torch.')}, {layout}"
            yield KernelTime(name, timer(work), {"torchvision per level": peer}, counted)


def time_nms(kernels: TorchKernels, timer: Timer, device: str, cases: Iterable[NMSCase]) -> Iterator[KernelTime]:
    """The peers wait for the device, so they are launched from Python, and the kernels are too; besides, as a graph."""
    for case in cases:
        sets = [case.random_boxes(device, seed) for seed in range(ROTATION)]
        arguments = case.iou_threshold, case.k
        work = [_call(kernels.fixed_nms, *inputs, *arguments) for inputs in sets]
        peers = {
            "torchvision": timer([_call(_torchvision_nms, *inputs, *arguments) for inputs in sets], graph=False),
            "fixpoint body": timer([_call(fixpoint_nms, *inputs, *arguments) for inputs in sets], graph=False),
            "the same in a CUDA graph": timer(work),
        }
        counted = 20 * case.groups * case.boxes + 4 * case.groups * case.k
        yield KernelTime(f"NMS {case.name}", timer(work, graph=False), peers, counted)


def time_merge(kernels: TorchKernels, timer: Timer, device: str, cases: Iterable[MergeCase]) -> Iterator[KernelTime]:
    """The peer is the eager operator."""
    for case in cases:
        sets = [case.random_logits(device, seed) for seed in range(ROTATION)]
        peers = {"eager": timer([_call(boundary_merge, *inputs) for inputs in sets])}
        work = [_call(kernels.boundary_merge, *inputs) for inputs in sets]
        yield KernelTime(f"{case.name}", timer(work), peers, 36 * case.size**2 * case.rois)


def fixpoint_nms(boxes: Tensor, scores: Tensor, iou_threshold: float, k: int) -> Tensor:
    """The arithmetic of the exported file's ``fixpoint`` body: kept boxes [G, k], as ranks."""
    ordered, order = scores.sort(dim=1, descending=True)
    boxes = boxes.gather(1, order[..., None].expand(-1, -1, 4))
    low, high = boxes[..., :2], boxes[..., 2:]
    area = (high - low).prod(dim=2)
    common = (torch.minimum(high[:, :, None], high[:, None]) - torch.maximum(low[:, :, None], low[:, None])).clamp(0)
    intersection = common.prod(dim=3)
    iou = intersection / (area[:, :, None] + area[:, None] - intersection).clamp(min=1e-30)
    suppressors = (iou > iou_threshold).float().tril(-1)
    candidates = (ordered >= 0).float()[..., None]
    keep = candidates
    while True:
        updated = (suppressors @ keep < 0.5).float() * candidates
        if torch.equal(updated, keep):
            break
        keep = updated
    ranks = torch.arange(boxes.shape[1], 0, -1, device=boxes.device, dtype=torch.float32)
    return (keep[..., 0] * ranks).topk(min(k, boxes.shape[1]), dim=1).indices


def _torchvision_nms(boxes: Tensor, scores: Tensor, iou_threshold: float, k: int) -> Tensor:
    groups = torch.arange(len(boxes), device=boxes.device).repeat_interleave(boxes.shape[1])
    return batched_nms(boxes.flatten(0, 1), scores.flatten(), groups, iou_threshold)[: k * len(boxes)]


def _torchvision_loop(features: Sequence[Tensor], rois: Tensor, output_size: int) -> Callable[[], object]:
    levels = roi_levels(rois, len(features), FINEST_SCALE)
    # Generous: neither the sorting by level nor the scattering of the results is timed.
    parts = [(f, rois[levels == level].to(f.dtype), 1 / (4 << level)) for level, f in enumerate(features)]
    parts = [part for part in parts if len(part[1])]
    return lambda: [roi_align(f, boxes, output_size, scale, 0, aligned=True) for f, boxes, scale in parts]


def _call(function: Callable[..., object], *arguments: object) -> Callable[[], object]:
    return lambda: function(*arguments)
