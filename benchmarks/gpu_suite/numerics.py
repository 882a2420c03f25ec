"""The kernels' results on the device against float64, torchvision and the eager operators."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.gpu_suite.cases import (
    EMPTY_ROIS,
    LABEL_LOGITS_CASES,
    LEVELS,
    MERGE_CASES,
    NMS_CASES,
    PROPOSALS_CASES,
    ROI_ALIGN_CASES,
    SEMANTIC,
    TOP_K_CASES,
    LabelLogitsCase,
    LabelLogitsInputs,
    MergeCase,
    NMSCase,
    ProposalsCase,
    RoIAlignCase,
    TopKCase,
)
from benchmarks.gpu_suite.kernel_times import eager_label_logits
from benchmarks.gpu_suite.proposals import proposals_chain, select_by_sort
from benchmarks.gpu_suite.workload import Workload
from engines.compiled.conv_relu import conv_relu
from refinemask.float32 import float32_products
from refinemask.ops import boundary_merge, fixed_nms, multilevel_roi_align, top_k, top_k_segments
from refinemask.ops.roi_align import FINEST_SCALE, FINEST_STRIDE
from trt_plugins.c_api import INTERLEAVED, PLANAR, FeatureMap
from trt_plugins.torch_kernels import TYPES, TorchKernels

ODD_CASES = (
    RoIAlignCase(name="odd sizes", levels=4, channels=13, rois=37, output_size=5, image=(352, 416)),
    RoIAlignCase(name="one RoI", levels=4, channels=256, rois=1, output_size=14),
    RoIAlignCase(name="one channel", levels=1, channels=1, rois=100, output_size=56),
    RoIAlignCase(name="Cityscapes", levels=4, channels=256, rois=100, output_size=14, image=(1024, 2048)),
    RoIAlignCase(name="3000 RoIs", levels=4, channels=64, rois=3000, output_size=7),
    RoIAlignCase(name="three images", levels=4, channels=32, rois=100, output_size=14, image=(352, 416), batch=3),
    RoIAlignCase(name="no RoI", levels=4, channels=32, rois=0, output_size=7),
)
EMPTY_CASES = tuple(
    RoIAlignCase(name=f"empty boxes on {levels} maps", levels=levels, channels=32, rois=200, output_size=14, batch=2)
    for levels in (1, 4)
)
"""Cases with :data:`EMPTY_ROIS` among their RoIs."""
SLICE_CASES = (
    *SEMANTIC,
    RoIAlignCase(name="pyramid", levels=4, channels=64, rois=300, output_size=7, batch=2),
)
"""Cases whose maps are slices of wider channels-last ones."""
PADDED_CASES = (
    RoIAlignCase(name="one channel", levels=1, channels=1, rois=100, output_size=56),
    RoIAlignCase(name="13 channels", levels=4, channels=13, rois=100, output_size=7, batch=2),
    RoIAlignCase(name="no RoI on one channel", levels=1, channels=1, rois=0, output_size=56),
)
"""Cases whose channels TensorRT pads to whole vectors of 16 bytes (its format kHWC8)."""
JOINT_CASES = (
    *SEMANTIC,
    RoIAlignCase(name="13 channels of two images", levels=1, channels=13, rois=100, output_size=14, batch=2),
    RoIAlignCase(name="one channel of three images", levels=1, channels=1, rois=37, output_size=28, batch=3),
    RoIAlignCase(name="no RoI on two images", levels=1, channels=13, rois=0, output_size=14, batch=2),
)
"""Cases whose map is some channels of a joint one, from channel :data:`JOINT_BEGIN` on, with others behind them."""
JOINT_BEGIN, JOINT_BEHIND = 16, 5
ODD_NMS = (
    NMSCase(name="1 box", groups=1, boxes=1, k=5, iou_threshold=0.5),
    NMSCase(name="40 × 1000 → 1000", groups=40, boxes=1000, k=1000, iou_threshold=0.7),
    NMSCase(name="3 × 4096 → 4096", groups=3, boxes=4096, k=4096, iou_threshold=0.3),
    NMSCase(name="8 × 2000 → 100", groups=8, boxes=2000, k=100, iou_threshold=0.9),
)
ODD_TOP_K = (
    TopKCase(groups=8, scores=202_600, k=1000),
    TopKCase(groups=3, scores=6001, k=4096, padding=1),
    TopKCase(groups=2, scores=1, k=1),
    TopKCase(groups=1, scores=1 << 21, k=4096, padding=0.5),
    TopKCase(groups=8, scores=sum(LEVELS), k=1000, segments=LEVELS),
    TopKCase(groups=3, scores=12_289, k=2047, padding=0.5, segments=(2048, 6145, 2047, 2049)),
    TopKCase(groups=2, scores=9247, k=31, segments=(5120, 31, 4096)),
)
ODD_MERGES = (MergeCase(rois=1, size=7), MergeCase(rois=3, size=101), MergeCase(rois=800, size=14))
ODD_PROPOSALS = (
    ProposalsCase(batch=3, k=1, image=(353, 417)),
    ProposalsCase(batch=2, k=4096, image=(352, 416)),
    ProposalsCase(batch=2, k=100, image=(64, 96), num_anchors=7),
    ProposalsCase(batch=1, k=2000, image=(1024, 2048), num_anchors=1),
)
ODD_LABEL_LOGITS = (
    LabelLogitsCase(rois=37, channels=13, size=7),
    LabelLogitsCase(rois=3, channels=1, size=101, mask_channels=1),
    LabelLogitsCase(rois=1, channels=512, size=1, mask_channels=5),
    LabelLogitsCase(rois=1000, channels=64, size=14, mask_channels=2, classes=1),
    LabelLogitsCase(rois=0, channels=32, size=14, mask_channels=2),
)

LIMITS = {torch.float32: 3e-5, torch.float16: 1e-3, torch.bfloat16: 8e-3}
"""Largest relative error (norm of the difference over norm of the reference) by type of the maps. Float32 has the
rounding of coordinates alone, the other types also the rounding of the result."""
FULL_PRECISION_LIMIT = 1e-5
"""Largest relative error of the merge, whose interpolation weights are float32, of proposals, which are float32, and of
float32 sums of products."""


@dataclass(frozen=True)
class Check:
    """One comparison."""

    name: str
    error: float
    """Relative error of the result; for NMS and top-k, the number of differing values."""
    limit: float
    """Largest error that passes."""
    rival_error: float | None = None
    """Error of torchvision against the same reference, on the same device and type; None if it was not compared."""

    @property
    def passed(self) -> bool:
        """Whether the error is within the limit."""
        return self.error <= self.limit


def check_kernels(kernels: TorchKernels, device: str) -> Iterator[Check]:
    """Every kernel over the detector's shapes and awkward ones."""
    yield from check_roi_align(kernels, device, (*ROI_ALIGN_CASES, *ODD_CASES))
    yield from check_empty_boxes(kernels, device, EMPTY_CASES)
    yield from check_channel_slices(kernels, device, SLICE_CASES)
    yield from check_padded_channels(kernels, device, PADDED_CASES)
    yield from check_joint_maps(kernels, device, JOINT_CASES)
    yield from check_nms(kernels, device, (*NMS_CASES, *ODD_NMS))
    yield from check_top_k(kernels, device, (*TOP_K_CASES, *ODD_TOP_K))
    yield from check_merge(kernels, device, (*MERGE_CASES, *ODD_MERGES))
    yield from check_proposals(kernels, device, (*PROPOSALS_CASES, *ODD_PROPOSALS))
    yield from check_label_logits(kernels, device, (*LABEL_LOGITS_CASES, *ODD_LABEL_LOGITS))


def check_roi_align(kernels: TorchKernels, device: str, cases: Iterable[RoIAlignCase]) -> Iterator[Check]:
    """Against the eager operator (torchvision on each level) in float64, on the maps as they were rounded."""
    for case, dtype, channels_last, ratio in product(cases, LIMITS, (False, True), (0, 2)):
        features = case.features(dtype, device, channels_last, seed=1)
        rois = case.random_rois(device, seed=2)
        arguments = rois, case.output_size, ratio, FINEST_SCALE
        reference = multilevel_roi_align([feature.double() for feature in features], *arguments)
        rival = multilevel_roi_align([feature.float() for feature in features], *arguments).to(dtype)
        result = kernels.multilevel_roi_align(features, *arguments)
        workload = Workload(case, dtype, "channels last" if channels_last else "planar")
        yield Check(
            f"{workload}, ratio {ratio}",
            relative_error(result, reference),
            LIMITS[dtype],
            relative_error(rival, reference),
        )


def check_empty_boxes(kernels: TorchKernels, device: str, cases: Iterable[RoIAlignCase]) -> Iterator[Check]:
    """Every second RoI is one of those that pool zeros; the others are as in :func:`check_roi_align`."""
    for case, dtype, channels_last in product(cases, LIMITS, (False, True)):
        features, rois = case.features(dtype, device, channels_last, seed=5), case.random_rois(device, seed=6)
        empty = torch.tensor(EMPTY_ROIS, device=device)
        rois[1::2] = empty[torch.arange(len(rois) // 2, device=device) % len(empty)]
        result = kernels.multilevel_roi_align(features, rois, case.output_size, 0, FINEST_SCALE)
        reference = torch.zeros_like(result, dtype=torch.float64)
        reference[::2] = _reference(case, features, rois[::2])
        workload = Workload(case, dtype, "channels last" if channels_last else "planar")
        yield Check(str(workload), relative_error(result, reference), LIMITS[dtype])


def check_channel_slices(kernels: TorchKernels, device: str, cases: Iterable[RoIAlignCase]) -> Iterator[Check]:
    """Maps that are the middle third of wider channels-last ones."""
    for case, dtype in product(cases, LIMITS):
        wide = replace(case, channels=3 * case.channels).features(dtype, device, True, seed=7)
        features = [feature[:, case.channels : 2 * case.channels] for feature in wide]
        rois = case.random_rois(device, seed=8)
        result = kernels.multilevel_roi_align(features, rois, case.output_size, 0, FINEST_SCALE)
        error = relative_error(result, _reference(case, features, rois))
        yield Check(f"{Workload(case, dtype)}, slice of channels", error, LIMITS[dtype])


def check_padded_channels(kernels: TorchKernels, device: str, cases: Iterable[RoIAlignCase]) -> Iterator[Check]:
    """Channels-last maps padded with NaN to whole vectors, whose results must be padded with zeros."""
    for case, dtype in product(cases, LIMITS):
        features, rois = case.features(dtype, device, False, seed=9), case.random_rois(device, seed=10)
        padding = -case.channels % (16 // dtype.itemsize)
        stored = [F.pad(feature.permute(0, 2, 3, 1), (0, padding), value=float("nan")) for feature in features]
        addresses = [feature.data_ptr() for feature in stored]
        result = _pool_addresses(kernels, case, addresses, rois, dtype, INTERLEAVED)
        reference = F.pad(_reference(case, features, rois).permute(0, 2, 3, 1), (0, padding))
        yield Check(f"{Workload(case, dtype)}, padded channels", relative_error(result, reference), LIMITS[dtype])


def check_joint_maps(kernels: TorchKernels, device: str, cases: Iterable[RoIAlignCase]) -> Iterator[Check]:
    """Channels of a joint map as TensorRT stores it: planar, or channels last and padded with NaN to whole vectors.

    Every third RoI is one of :data:`EMPTY_ROIS`.
    """
    for case, dtype, layout in product(cases, LIMITS, (PLANAR, INTERLEAVED)):
        total = JOINT_BEGIN + case.channels + JOINT_BEHIND
        (joint,) = replace(case, channels=total).features(dtype, device, False, seed=13)
        features = [joint[:, JOINT_BEGIN : JOINT_BEGIN + case.channels]]
        rois = case.random_rois(device, seed=14)
        empty = torch.tensor(EMPTY_ROIS, device=device)
        rois[1::3] = empty[torch.arange(len(rois[1::3]), device=device) % len(empty)]
        vector = 16 // dtype.itemsize
        stored, map_channels, offset = joint, total, JOINT_BEGIN * joint.shape[2] * joint.shape[3]
        if layout == INTERLEAVED:
            stored = F.pad(joint.permute(0, 2, 3, 1), (0, -total % vector), value=float("nan"))
            map_channels, offset = stored.shape[3], JOINT_BEGIN
        address = stored.data_ptr() + offset * dtype.itemsize
        result = _pool_addresses(kernels, case, [address], rois, dtype, layout, map_channels)
        solid = torch.ones(len(rois), dtype=torch.bool, device=device)
        solid[1::3] = False
        shape = len(rois), case.channels, case.output_size, case.output_size
        reference = torch.zeros(shape, dtype=torch.float64, device=device)
        reference[solid] = _reference(case, features, rois[solid])
        if layout == INTERLEAVED:
            reference = F.pad(reference.permute(0, 2, 3, 1), (0, -case.channels % vector))
        name = f"{Workload(case, dtype)}, channels of a joint map, {'padded' if layout == INTERLEAVED else 'planar'}"
        yield Check(name, relative_error(result, reference), LIMITS[dtype])


def check_nms(kernels: TorchKernels, device: str, cases: Iterable[NMSCase]) -> Iterator[Check]:
    """Against the eager operator on the CPU; every index must be the same."""
    for case, ordered in product(cases, (True, False)):
        boxes, scores = case.random_boxes(device, seed=3, ordered=ordered)
        result = kernels.fixed_nms(boxes, scores, case.iou_threshold, case.k)
        expected = fixed_nms(boxes.cpu(), scores.cpu(), case.iou_threshold, case.k)
        different = sum(int((a.cpu() != b).sum()) for a, b in zip(result, expected, strict=True))
        yield Check(f"{Workload(case)}, {'ordered' if ordered else 'unordered'}", different, 0)


def check_top_k(kernels: TorchKernels, device: str, cases: Iterable[TopKCase]) -> Iterator[Check]:
    """Against a stable sort on the CPU; every score and every index, of 64 and of 32 bits, must be the same."""
    for case in cases:
        scores = case.random_scores(device, seed=11)
        if case.segments:
            arguments = case.segments, case.k
            result, expected = kernels.top_k_segments(scores, *arguments), top_k_segments(scores.cpu(), *arguments)
        else:
            result, expected = kernels.top_k(scores, case.k), top_k(scores.cpu(), case.k)
        lengths = case.segments or (case.scores,)
        _, narrow = kernels.top_k_segments(scores, lengths, case.k, torch.int32)
        pairs = zip((*result, narrow.view_as(result[1])), (*expected, expected[1]), strict=True)
        different = sum(int((a.cpu() != b).sum()) for a, b in pairs)
        yield Check(str(Workload(case)), different, 0)


def check_merge(kernels: TorchKernels, device: str, cases: Iterable[MergeCase]) -> Iterator[Check]:
    """Against the eager operator on the CPU: the same choice at every pixel, so the norm sees any other."""
    for case in cases:
        coarse, fine = case.random_logits(device, seed=4)
        result = kernels.boundary_merge(coarse, fine)
        expected = boundary_merge(coarse.cpu(), fine.cpu())
        yield Check(str(Workload(case)), relative_error(result.cpu(), expected.double()), FULL_PRECISION_LIMIT)


def check_proposals(kernels: TorchKernels, device: str, cases: Iterable[ProposalsCase]) -> Iterator[Check]:
    """Against PyTorch's operators in float64: the same anchors in the same order, so the norm sees any other."""
    for case, dtype, channels_last in product(cases, LIMITS, (False, True)):
        maps, sizes = case.maps(dtype, device, channels_last, seed=13), case.image_sizes(device)
        result = kernels.select_proposals(maps, case.base_anchors(device), sizes, case.k)
        anchors = [each.double() for each in case.anchors(device)]
        reference = proposals_chain(maps, anchors, sizes.double(), case.k, select_by_sort)
        error = max(relative_error(a, b) for a, b in zip(result, reference, strict=True))
        workload = Workload(case, dtype, "channels last" if channels_last else "planar")
        yield Check(str(workload), error, FULL_PRECISION_LIMIT)


def check_label_logits(kernels: TorchKernels, device: str, cases: Iterable[LabelLogitsCase]) -> Iterator[Check]:
    """Against the eager operator in float64, on the inputs as they were rounded: sums are float32 in every type."""
    for case, dtype, channels_last in product(cases, LIMITS, (False, True)):
        inputs = case.random_inputs(dtype, device, channels_last, seed=13)
        result = kernels.label_logits(*inputs)
        features, masks, weight, bias, labels = inputs
        masks = None if masks is None else masks.double()
        exact = LabelLogitsInputs(features.double(), masks, weight.double(), bias.double(), labels)
        reference = eager_label_logits(exact)
        workload = Workload(case, dtype, "channels last" if channels_last else "planar")
        error = relative_error(result, reference)
        yield Check(str(workload), error, FULL_PRECISION_LIMIT, relative_error(eager_label_logits(inputs), reference))


def check_conv_relu(device: str) -> Iterator[Check]:
    """The compiled engine's convolutions against float64, with results in memory that held NaN before.

    cuDNN also reads the result as a sum's other part, times zero; that must not make NaN of what lay there.
    """
    random = torch.Generator().manual_seed(12)
    shapes = (2, 64, 50, 84), (32, 64, 3, 3), (32,), (2, 32, 50, 84)
    inputs = [torch.randn(shape, generator=random) for shape in shapes]
    inputs[1] /= 24  # root of the number of products in a sum
    for dtype, adds in product(LIMITS, (False, True)):
        rounded = [each.to(dtype) for each in inputs]
        x, weight, bias, residual = (each.double() for each in rounded)
        reference = F.relu(F.conv2d(x, weight, bias, padding=1) + (residual if adds else 0))
        *there, added = (
            each.to(device, memory_format=torch.channels_last if each.dim() == 4 else torch.contiguous_format)
            for each in rounded
        )
        # The allocator gives this memory to the result, as the last that was freed and of its size.
        torch.full_like(added, torch.nan)
        with float32_products(tf32=False):
            result = conv_relu(*there, added if adds else None, (1, 1), (1, 1), (1, 1))
        name = f"convolution{' + sum' if adds else ''} + ReLU, {str(dtype).removeprefix('torch.')}"
        yield Check(name, relative_error(result.cpu(), reference), LIMITS[dtype])


def _pool_addresses(
    kernels: TorchKernels,
    case: RoIAlignCase,
    addresses: Sequence[int],
    rois: Tensor,
    dtype: torch.dtype,
    layout: int,
    map_channels: int = 0,
) -> Tensor:
    """The result in the layout of the maps, whose padded channels must be zeros, through the C interface."""
    size, vector = case.output_size, 16 // dtype.itemsize
    shape = (len(rois), case.channels, size, size)
    if layout == INTERLEAVED:
        shape = (len(rois), size, size, -(-case.channels // vector) * vector)
    result = torch.full(shape, float("nan"), dtype=dtype, device=rois.device)
    sizes = [[side // (FINEST_STRIDE << level) for side in case.image] for level in range(case.levels)]
    kernels.kernels.roi_align(
        [FeatureMap(address, *each) for address, each in zip(addresses, sizes, strict=True)],
        rois.data_ptr(),
        result.data_ptr(),
        batch=case.batch,
        channels=case.channels,
        map_channels=map_channels,
        num_rois=len(rois),
        output_size=case.output_size,
        sampling_ratio=0,
        finest_scale=FINEST_SCALE,
        type=TYPES[dtype],
        layout=layout,
        stream=torch.cuda.current_stream().cuda_stream if rois.is_cuda else 0,
    )
    return result


def _reference(case: RoIAlignCase, features: list[Tensor], rois: Tensor) -> Tensor:
    """The eager operator in float64, with samples by the bins' size."""
    return multilevel_roi_align([feature.double() for feature in features], rois, case.output_size, 0, FINEST_SCALE)


def relative_error(result: Tensor, reference: Tensor) -> float:
    """Norm of the difference over norm of the reference; infinite where a value is missing."""
    if result.shape != reference.shape:
        return float("inf")
    if not reference.numel():
        return 0.0
    error = ((result.double() - reference).norm() / reference.norm()).item()
    return error if error == error else float("inf")
