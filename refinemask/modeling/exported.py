"""The exported contract as a module: images and their sizes in, the five detection tensors out."""

import copy
from itertools import pairwise
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from refinemask.contract import Masks
from refinemask.modeling.detector import Detector

Precision = Literal["fp32", "fp16", "bf16"]

DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
"""Type of weights and features, by precision."""
PLACES_STEP = 8
"""Step of the number of computed masks: runtimes prepare anew for every shape that they have not seen."""


class ExportedDetector(nn.Module):
    """A copy of a detector for inference, with batch norm folded into the convolutions."""

    def __init__(self, detector: Detector, dtype: torch.dtype = torch.float32, masks: Masks = "all") -> None:
        """``dtype`` is the type of weights and features; boxes, scores and masks stay float32."""
        super().__init__()
        self.masks = masks
        self.detector = copy.deepcopy(detector).requires_grad_(False)
        fold_batch_norm(self.detector.eval())
        self.eval().to(dtype)

    def forward(self, images: Tensor, image_sizes: Tensor) -> tuple[Tensor, ...]:
        """The fields of :class:`refinemask.structures.Detections`, in their order."""
        features = self.detector.features(images, image_sizes)
        boxes = self.detector.detect(features, image_sizes)
        if self.masks == "all":
            return (*boxes, self.detector.segment_all(features, boxes.boxes, boxes.labels))
        places = boxes.labels.shape[1]
        count = found_places(boxes.num_detections, places)
        masks = self.detector.segment_all(features, boxes.boxes[:, :count], boxes.labels[:, :count])
        return (*boxes, F.pad(masks, (0, 0, 0, 0, 0, places - count)))


def found_places(num_detections: Tensor, places: int) -> int:
    """The number of places that is enough for the detections of each image of the batch.

    It is a multiple of :data:`PLACES_STEP`, at least one step and at most ``places``.
    """
    # While tracing this is a symbol, not an integer.
    largest = cast(int, num_detections.max().item())
    steps = (largest + PLACES_STEP - 1) // PLACES_STEP
    return torch.sym_min(torch.sym_max(steps * PLACES_STEP, PLACES_STEP), places)


def fold_batch_norm(module: nn.Module) -> None:
    """Merge every batch norm that directly follows a convolution into that convolution, in place.

    The exporter would do so too, but it leaves float32 weights in a graph of another type.
    """
    for parent in module.modules():
        for (conv_name, conv), (norm_name, norm) in pairwise(list(parent.named_children())):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(parent, conv_name, fuse_conv_bn_eval(conv, norm))
                setattr(parent, norm_name, nn.Identity())
