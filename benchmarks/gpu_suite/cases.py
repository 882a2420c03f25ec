"""The problems that kernels are checked and timed on: the detector's own shapes, and the worst ones."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from benchmarks.harness.report_file import ABSENT_IF_NONE
from refinemask.config import RPNConfig
from refinemask.modeling.anchors import STRIDES, pyramid_anchors
from refinemask.ops import roi_levels
from refinemask.ops.roi_align import FINEST_SCALE, FINEST_STRIDE

Kernel = Literal["RoIAlign", "NMS", "top-k", "merge", "proposals", "label logits"]
Layout = Literal["planar", "channels last"]
Boxes = Literal["coco", "full", "large"]
"""Kind of boxes. ``coco`` has log-normal sizes with a median of 0.106 of the image's side, as COCO has. In ``full``
every box is the whole image. In ``large`` every side of the whole image is moved inwards by up to a tenth, so that no
two boxes have anything in common."""

MEDIAN_SIZE = 0.106


@dataclass(frozen=True, kw_only=True)
class RoIAlignCase:
    """One use of RoIAlign in the detector."""

    kernel: ClassVar[Kernel] = "RoIAlign"
    name: str = field(compare=False)
    """Display name, which does not tell one case from another."""
    levels: int
    channels: int
    rois: int
    output_size: int
    boxes: Boxes = "coco"
    image: tuple[int, int] = (800, 1344)
    """Height and width in pixels."""
    batch: int = 1
    """Number of images, which the RoIs take in turn."""

    def features(self, dtype: torch.dtype, device: str, channels_last: bool, seed: int) -> list[Tensor]:
        """Normal random maps [B, C, H, W] at strides 4, 8, …"""
        generator = torch.Generator(device).manual_seed(seed)
        shapes = [tuple(side // (FINEST_STRIDE << level) for side in self.image) for level in range(self.levels)]
        layout = torch.channels_last if channels_last else torch.contiguous_format
        shapes = [(self.batch, self.channels, *shape) for shape in shapes]
        return [
            torch.randn(shape, generator=generator, device=device).to(dtype, memory_format=layout) for shape in shapes
        ]

    def random_rois(self, device: str, seed: int) -> Tensor:
        """[R, 5] on the images in turn."""
        boxes = draw_boxes(self.rois, self.image, self.boxes, seed)
        images = torch.arange(len(boxes))[:, None] % self.batch
        return torch.cat([images, boxes], dim=1).to(device)


BOX_HEAD = RoIAlignCase(name="box head 7×7", levels=4, channels=256, rois=1000, output_size=7)
MASK_HEAD = RoIAlignCase(name="mask head 14×14", levels=4, channels=256, rois=100, output_size=14)
SEMANTIC = (
    RoIAlignCase(name="semantic 14×14", levels=1, channels=256, rois=100, output_size=14),
    RoIAlignCase(name="semantic 28×28", levels=1, channels=128, rois=100, output_size=28),
    RoIAlignCase(name="semantic 56×56", levels=1, channels=64, rois=100, output_size=56),
)


def worst(case: RoIAlignCase, boxes: Literal["full", "large"]) -> RoIAlignCase:
    """The same use where every box is as large as the image, or nearly so."""
    return replace(case, name=f"{case.name}, {'full image' if boxes == 'full' else 'large boxes'}", boxes=boxes)


ROI_ALIGN_CASES = (
    BOX_HEAD,
    MASK_HEAD,
    *SEMANTIC,
    *(worst(case, "full") for case in SEMANTIC),
    *(worst(case, "large") for case in SEMANTIC),
)


_NAN, _INF = float("nan"), float("inf")
EMPTY_ROIS = (
    (0, _NAN, 10, 50, 60),
    (0, 10, _NAN, 50, 60),
    (0, 10, 10, _NAN, 60),
    (0, 10, 10, 50, _NAN),
    (0, -_INF, 10, _INF, 60),
    (0, 10, -_INF, 50, 60),
    (0, 10, 10, 50, _INF),
    (0, -1e30, -1e30, 1e30, 1e30),
    (0, 50, 10, 10, 60),
    (0, 10, 60, 50, 10),
    (0, 50, 60, 10, 10),
    (0, 30, 10, 30, 60),
    (0, 10, 30, 50, 30),
    (0, 9000, 9000, 9100, 9100),
    (0, -500, -500, -100, -100),
    (-1, 10, 10, 50, 60),
    (999, 10, 10, 50, 60),
    (_NAN, 10, 10, 50, 60),
)
"""RoIs that pool zeros when samples follow the bins' size. Their coordinates are no numbers, infinite, without order or
area, or outside the maps, or their image is none of the batch."""


@dataclass(frozen=True, kw_only=True)
class NMSCase:
    """One use of NMS in the detector; boxes in clusters of eight, scores in descending order as a top-k leaves them."""

    kernel: ClassVar[Kernel] = "NMS"
    name: str = field(compare=False)
    """Display name, which does not tell one case from another."""
    groups: int
    boxes: int
    k: int
    iou_threshold: float

    def random_boxes(self, device: str, seed: int, ordered: bool = True) -> tuple[Tensor, Tensor]:
        """Boxes [G, N, 4] and scores [G, N], which differ from one another."""
        generator = torch.Generator().manual_seed(seed)
        clusters = draw_boxes(self.groups * math.ceil(self.boxes / 8), (800, 1344), "coco", seed)
        boxes = clusters.view(self.groups, -1, 4).repeat_interleave(8, dim=1)[:, : self.boxes]
        size = (boxes[..., 2:] - boxes[..., :2]).repeat(1, 1, 2)
        boxes = boxes + torch.randn(boxes.shape, generator=generator) * 0.1 * size
        scores = torch.stack([torch.randperm(self.boxes, generator=generator) for _ in range(self.groups)])
        boxes = torch.cat([boxes[..., :2], torch.maximum(boxes[..., 2:], boxes[..., :2] + 1)], dim=2)
        result = boxes, (scores + 1) / (self.boxes + 1)
        if ordered:
            order = result[1].argsort(dim=1, descending=True)
            result = boxes.gather(1, order[..., None].expand(-1, -1, 4)), result[1].gather(1, order)
        return result[0].to(device), result[1].to(device)


NMS_CASES = (
    NMSCase(name="proposals 5 × 1000 → 1000", groups=5, boxes=1000, k=1000, iou_threshold=0.7),
    NMSCase(name="detections 1 × 3840 → 100", groups=1, boxes=3840, k=100, iou_threshold=0.5),
)


@dataclass(frozen=True, kw_only=True)
class TopKCase:
    """One selection of the best scores in the detector."""

    kernel: ClassVar[Kernel] = "top-k"
    groups: int
    scores: int
    k: int
    padding: float = 0
    """Share of the scores that are -1, at random places."""
    segments: tuple[int, ...] | None = field(default=None, metadata=ABSENT_IF_NONE)
    """Lengths of the segments of a row, from each of which as many are selected; None where the row is a whole."""

    @property
    def name(self) -> str:
        """Display name."""
        return f"{self.groups} × {' + '.join(map(str, self.segments or (self.scores,)))} → {self.k}"

    def random_scores(self, device: str, seed: int) -> Tensor:
        """[G, N] between 0 and 1 as float16 leaves them, so that many are equal, and -1."""
        generator = torch.Generator().manual_seed(seed)
        scores = torch.randn(self.groups, self.scores, generator=generator).half().float().sigmoid()
        padded = torch.rand(scores.shape, generator=generator) < self.padding
        return torch.where(padded, -1.0, scores).to(device)


LEVELS = 202_600, 51_400, 13_600, 4150, 1819
"""Anchors of the levels of an image of 800 × 1344, and as many scores of padding as there are candidates."""
CANDIDATES = 3840
"""Best scores of all classes of an image that enter the last NMS."""
TOP_K_CASES = (
    *(TopKCase(groups=1, scores=scores, k=1000) for scores in (*LEVELS, 5000)),
    TopKCase(groups=8, scores=80_000, k=CANDIDATES, padding=0.97),
    TopKCase(groups=1, scores=80_000, k=CANDIDATES, padding=0.97),
    TopKCase(groups=1, scores=sum(LEVELS), k=1000, segments=LEVELS),
)


@dataclass(frozen=True, kw_only=True)
class MergeCase:
    """One boundary-aware merge of two mask stages."""

    kernel: ClassVar[Kernel] = "merge"
    rois: int
    size: int

    @property
    def name(self) -> str:
        """Display name."""
        return f"{self.rois} × {self.size}² → {2 * self.size}²"

    def random_logits(self, device: str, seed: int) -> tuple[Tensor, Tensor]:
        """Coarse blobs [R, 1, n, n] and fine noise [R, 1, 2n, 2n]."""
        generator = torch.Generator().manual_seed(seed)
        small = torch.randn(self.rois, 1, 7, 7, generator=generator) * 4
        coarse = torch.nn.functional.interpolate(small, (self.size, self.size), mode="bilinear")
        fine = torch.randn(self.rois, 1, 2 * self.size, 2 * self.size, generator=generator)
        return coarse.to(device), fine.to(device)


MERGE_CASES = (MergeCase(rois=100, size=28), MergeCase(rois=100, size=56))


@dataclass(frozen=True, kw_only=True)
class ProposalsCase:
    """One selection of the RPN's best anchors, from the maps to clipped boxes."""

    kernel: ClassVar[Kernel] = "proposals"
    batch: int
    k: int
    image: tuple[int, int] = (800, 1344)
    """Height and width in pixels."""
    num_anchors: int = 3
    """Anchors of a cell."""

    @property
    def name(self) -> str:
        """Display name."""
        return f"{self.batch} × 5 levels of {self.image[0]} × {self.image[1]} → {self.k}"

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """(height, width) of P2 to P6 in cells."""
        height, width = self.image
        return [(math.ceil(height / stride), math.ceil(width / stride)) for stride in STRIDES]

    def maps(self, dtype: torch.dtype, device: str, channels_last: bool, seed: int) -> list[Tensor]:
        """[B, 5A, h, w] of each level; channels-last ones lie as TensorRT's do, in whole vectors of 16 bytes."""
        generator = torch.Generator(device).manual_seed(seed)
        shapes = [(self.batch, 5 * self.num_anchors, *size) for size in self.sizes]
        maps = [(torch.randn(shape, generator=generator, device=device) / 2).to(dtype) for shape in shapes]
        if not channels_last:
            return maps
        padding = -maps[0].shape[1] % (16 // dtype.itemsize)
        stored = [torch.nn.functional.pad(each.permute(0, 2, 3, 1), (0, padding)) for each in maps]
        return [each.permute(0, 3, 1, 2)[:, : maps[0].shape[1]] for each in stored]

    def anchors(self, device: str) -> list[Tensor]:
        """Anchors [h · w · A, 4] of each level."""
        return pyramid_anchors(self.sizes, self._config, torch.device(device))

    def base_anchors(self, device: str) -> Tensor:
        """[5, A, 4], the anchors of a cell at (0, 0) of each level."""
        return torch.stack(pyramid_anchors([(1, 1)] * len(STRIDES), self._config, torch.device(device)))

    def image_sizes(self, device: str) -> Tensor:
        """[B, 2], each image a little smaller than the one before."""
        sizes = [[side - 10 * image for side in self.image] for image in range(self.batch)]
        return torch.tensor(sizes, dtype=torch.float32, device=device)

    @property
    def _config(self) -> RPNConfig:
        return RPNConfig(anchor_ratios=tuple(0.5 * 2**index for index in range(self.num_anchors)))


PROPOSALS_CASES = tuple(ProposalsCase(batch=batch, k=1000) for batch in (1, 8))


class LabelLogitsInputs(NamedTuple):
    """What :meth:`trt_plugins.torch_kernels.TorchKernels.label_logits` takes."""

    features: Tensor
    masks: Tensor | None
    weight: Tensor
    bias: Tensor
    labels: Tensor


@dataclass(frozen=True, kw_only=True)
class LabelLogitsCase:
    """One prediction of the logits of each RoI's label."""

    kernel: ClassVar[Kernel] = "label logits"
    rois: int
    channels: int
    size: int
    mask_channels: int = 0
    """Number of channels at twice the size; 0 if the logits have the size of the features."""
    classes: int = 80

    @property
    def name(self) -> str:
        """Display name."""
        upsampled = f" + {self.mask_channels} → {2 * self.size}²" if self.mask_channels else ""
        return f"{self.rois} × {self.channels} × {self.size}²{upsampled}"

    def random_inputs(self, dtype: torch.dtype, device: str, channels_last: bool, seed: int) -> LabelLogitsInputs:
        """Normal random features and weights, masks between 0 and 1, and labels of which some have no row."""
        generator = torch.Generator().manual_seed(seed)
        columns, side = self.channels + self.mask_channels, 2 * self.size
        features = torch.randn(self.rois, self.channels, self.size, self.size, generator=generator)
        masks = torch.rand(self.rois, self.mask_channels, side, side, generator=generator)
        weight = torch.randn(self.classes, columns, generator=generator) / columns**0.5
        bias = torch.randn(self.classes, generator=generator)
        labels = torch.randint(0, 80, (self.rois,), generator=generator, dtype=torch.int32)
        layout = torch.channels_last if channels_last else torch.contiguous_format
        return LabelLogitsInputs(
            features.to(device, dtype, memory_format=layout),
            masks.to(device, dtype) if self.mask_channels else None,
            weight.to(device, dtype),
            bias.to(device, dtype),
            labels.to(device),
        )

    def counted_bytes(self, dtype: torch.dtype) -> int:
        """Bytes of the features, the masks and the logits."""
        scale = 4 if self.mask_channels else 1
        pixels = self.rois * self.size**2
        return pixels * (dtype.itemsize * (self.channels + 4 * self.mask_channels) + 4 * scale)


LABEL_LOGITS_CASES = (
    LabelLogitsCase(rois=100, channels=256, size=14),
    LabelLogitsCase(rois=100, channels=126, size=14, mask_channels=2),
    LabelLogitsCase(rois=100, channels=62, size=28, mask_channels=2),
    LabelLogitsCase(rois=100, channels=30, size=56, mask_channels=2, classes=1),
    LabelLogitsCase(rois=100, channels=256, size=28),
)
"""RefineMask's four stages, and Mask R-CNN's predictor."""


def draw_boxes(count: int, image: tuple[int, int], kind: Boxes, seed: int) -> Tensor:
    """[count, 4] (x1, y1, x2, y2) within the image, on the CPU."""
    height, width = image
    limits = torch.tensor([width, height], dtype=torch.float32)
    generator = torch.Generator().manual_seed(seed)
    if kind != "coco":
        inwards = torch.rand(count, 4, generator=generator) * 0.1 * (kind == "large")
        low, high = inwards.split(2, dim=1)
        return torch.cat([low * limits, (1 - high) * limits], dim=1)
    side = torch.exp(torch.randn(count, 1, generator=generator)) * MEDIAN_SIZE * math.sqrt(height * width)
    aspect = torch.exp(torch.randn(count, 1, generator=generator) * 0.4)
    half = torch.cat([side * aspect, side / aspect], dim=1) / 2
    centre = torch.rand(count, 2, generator=generator) * limits
    low, high = (centre - half).clamp(min=0), torch.minimum(centre + half, limits)
    return torch.cat([low, high], dim=1)


def roi_align_bytes(features: Sequence[Tensor], rois: Tensor, output_size: int) -> int:
    """Bytes that RoIAlign must move: the cells under the RoIs of each level once, the RoIs, and the output."""
    levels, cells = roi_levels(rois, len(features), FINEST_SCALE).tolist(), 0
    for level, feature in enumerate(features):
        covered = torch.zeros(feature.shape[2:], dtype=torch.bool)
        boxes = rois[torch.tensor([each == level for each in levels], device=rois.device), 1:] / (4 << level) - 0.5
        for x1, y1, x2, y2 in boxes.tolist():
            covered[max(math.floor(y1), 0) : math.ceil(y2) + 1, max(math.floor(x1), 0) : math.ceil(x2) + 1] = True
        cells += int(covered.sum())
    values = features[0].shape[1] * (cells + len(rois) * output_size**2)
    return values * features[0].element_size() + rois.numel() * rois.element_size()


def proposals_bytes(case: ProposalsCase, dtype: torch.dtype) -> int:
    """Bytes that the selection of proposals must move: all logits, the deltas of the best, and the results."""
    logits = case.num_anchors * sum(height * width for height, width in case.sizes)
    results = len(case.sizes) * case.k
    return case.batch * (dtype.itemsize * (logits + 4 * results) + 20 * results)
