"""The kernels' times against torchvision's, the eager operators' and the bytes that must move."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torchvision.ops import batched_nms, roi_align

from benchmarks.gpu_suite.cases import (
    LabelLogitsCase,
    LabelLogitsInputs,
    Layout,
    MergeCase,
    NMSCase,
    ProposalsCase,
    RoIAlignCase,
    TopKCase,
    proposals_bytes,
    roi_align_bytes,
)
from benchmarks.gpu_suite.proposals import Select, proposals_chain, select_by_kernel, select_by_topk
from benchmarks.gpu_suite.timing import Timer, Timing
from benchmarks.gpu_suite.workload import Workload
from refinemask.ops import boundary_merge, label_logits, roi_levels, upsampled_label_logits
from refinemask.ops.roi_align import FINEST_SCALE
from trt_plugins import torch_ops
from trt_plugins.torch_kernels import TorchKernels

ROTATION = 4
"""Number of input sets that take turns: together they are larger than a second-level cache."""


PER_LEVEL, TORCHVISION, FIXPOINT = "torchvision per level", "torchvision", "fixpoint of matrix products"
TORCH, ONE_BY_ONE = "torch.topk", "one segment after another"
CHAIN, CHAIN_WITH_KERNEL = "torch.topk, gather, decode", "our top-k, gather, decode"
GRAPH, EAGER = "the same in a CUDA graph", "eager"


@dataclass(frozen=True)
class KernelTime:
    """A kernel on one workload, beside its rivals."""

    kernel: Timing
    rivals: dict[str, Timing]
    """Times of the other ways to do the same work, by name."""
    counted_bytes: int
    """Bytes that must pass through memory."""


Timed = tuple[Workload, KernelTime]


def time_roi_align(
    kernels: TorchKernels, timer: Timer, device: str, dtype: torch.dtype, cases: Iterable[RoIAlignCase]
) -> Iterator[Timed]:
    """Both layouts; the rival is torchvision's kernel on each level, the RoIs sorted by level beforehand."""
    for case in cases:
        sets = [(case.features(dtype, device, False, seed), case.random_rois(device, seed)) for seed in range(ROTATION)]
        nhwc = [([f.contiguous(memory_format=torch.channels_last) for f in features], rois) for features, rois in sets]
        arguments = case.output_size, 0, FINEST_SCALE
        rival = timer([_torchvision_loop(features, rois, case.output_size) for features, rois in sets])
        counted = roi_align_bytes(*sets[0], case.output_size)
        layouts: tuple[tuple[Layout, Any], ...] = (("planar", sets), ("channels last", nhwc))
        for layout, inputs in layouts:
            work = [_call(kernels.multilevel_roi_align, features, rois, *arguments) for features, rois in inputs]
            yield Workload(case, dtype, layout), KernelTime(timer(work), {PER_LEVEL: rival}, counted)


def time_nms(kernels: TorchKernels, timer: Timer, device: str, cases: Iterable[NMSCase]) -> Iterator[Timed]:
    """The rivals wait for the device, so all are launched from Python; the kernel is timed in a CUDA graph, too."""
    for case in cases:
        sets = [case.random_boxes(device, seed) for seed in range(ROTATION)]
        arguments = case.iou_threshold, case.k
        work = [_call(kernels.fixed_nms, *inputs, *arguments) for inputs in sets]
        rivals = {
            TORCHVISION: timer([_call(_torchvision_nms, *inputs, *arguments) for inputs in sets], graph=False),
            FIXPOINT: timer([_call(fixpoint_nms, *inputs, *arguments) for inputs in sets], graph=False),
            GRAPH: timer(work),
        }
        counted = 20 * case.groups * case.boxes + 4 * case.groups * case.k
        yield Workload(case), KernelTime(timer(work, graph=False), rivals, counted)


def time_top_k(kernels: TorchKernels, timer: Timer, device: str, cases: Iterable[TopKCase]) -> Iterator[Timed]:
    """The rival is PyTorch's own selection, in any order of equal scores; for segments also the kernel on each."""
    for case in cases:
        sets = [case.random_scores(device, seed) for seed in range(ROTATION)]
        lengths = case.segments or (case.scores,)
        parts = [[part.contiguous() for part in scores.split(lengths, dim=1)] for scores in sets]
        rivals = {TORCH: timer([_each(torch.topk, rows, case.k) for rows in parts])}
        if case.segments:
            rivals[ONE_BY_ONE] = timer([_each(kernels.top_k, rows, case.k) for rows in parts])
        work = [_call(kernels.top_k_segments, scores, lengths, case.k) for scores in sets]
        counted = case.groups * (4 * case.scores + 12 * case.k * len(lengths))
        yield Workload(case), KernelTime(timer(work), rivals, counted)


def time_merge(kernels: TorchKernels, timer: Timer, device: str, cases: Iterable[MergeCase]) -> Iterator[Timed]:
    """The rival is the eager operator."""
    for case in cases:
        sets = [case.random_logits(device, seed) for seed in range(ROTATION)]
        # Another part may have put the kernels into the operators.
        with torch_ops.disabled(device):
            rivals = {EAGER: timer([_call(boundary_merge, *inputs) for inputs in sets])}
        work = [_call(kernels.boundary_merge, *inputs) for inputs in sets]
        yield Workload(case), KernelTime(timer(work), rivals, 36 * case.size**2 * case.rois)


def time_proposals(
    kernels: TorchKernels, timer: Timer, device: str, dtype: torch.dtype, cases: Iterable[ProposalsCase]
) -> Iterator[Timed]:
    """Both layouts; the rivals are PyTorch's operators, with its own top-k and with ours, on maps of that layout."""
    layouts: tuple[Layout, ...] = ("planar", "channels last")
    for case in cases:
        anchors, sizes = case.anchors(device), case.image_sizes(device)
        for layout in layouts:
            sets = [case.maps(dtype, device, layout == "channels last", seed) for seed in range(ROTATION)]
            base = case.base_anchors(device)
            work = [_call(kernels.select_proposals, maps, base, sizes, case.k) for maps in sets]
            ways: dict[str, Select] = {CHAIN: select_by_topk, CHAIN_WITH_KERNEL: select_by_kernel(kernels)}
            rivals = {
                name: timer([_call(proposals_chain, maps, anchors, sizes, case.k, select) for maps in sets])
                for name, select in ways.items()
            }
            yield Workload(case, dtype, layout), KernelTime(timer(work), rivals, proposals_bytes(case, dtype))


def time_label_logits(
    kernels: TorchKernels, timer: Timer, device: str, dtype: torch.dtype, cases: Iterable[LabelLogitsCase]
) -> Iterator[Timed]:
    """Both layouts; the rival is the eager operator on the same features."""
    for case in cases:
        layouts: tuple[Layout, ...] = ("planar", "channels last")
        for layout in layouts:
            sets = [case.random_inputs(dtype, device, layout == "channels last", seed) for seed in range(ROTATION)]
            rivals = {EAGER: timer([_call(eager_label_logits, inputs) for inputs in sets])}
            work = [_call(kernels.label_logits, *inputs) for inputs in sets]
            yield Workload(case, dtype, layout), KernelTime(timer(work), rivals, case.counted_bytes(dtype))


def eager_label_logits(inputs: LabelLogitsInputs) -> Tensor:
    """The eager operator for these inputs."""
    features, masks, *predictor = inputs
    return label_logits(features, *predictor) if masks is None else upsampled_label_logits(features, masks, *predictor)


def fixpoint_nms(boxes: Tensor, scores: Tensor, iou_threshold: float, k: int) -> Tensor:
    """NMS as the fixpoint of matrix products, without a kernel of its own: kept boxes [G, k], as ranks."""
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


def _each(function: Callable[..., object], inputs: Sequence[Tensor], k: int) -> Callable[[], object]:
    return lambda: [function(each, k) for each in inputs]


def _call(function: Callable[..., object], *arguments: object) -> Callable[[], object]:
    return lambda: function(*arguments)
