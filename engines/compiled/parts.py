"""The detector in four parts, so that masks are computed for as many places as there are detections.

``features`` come first. ``boxes`` and ``image_maps`` read them and do not read one another, so a GPU computes both at
the same time. ``masks`` read all, and take any number of places.
"""

import copy

from torch import Tensor, nn

from refinemask.modeling.detector import Detector

PARTS = ("features", "boxes", "image_maps", "masks")


class Features(nn.Module):
    """Images and their sizes in, the feature maps that all heads read out."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = only(detector, "backbone", "fpn", "context")

    def forward(self, images: Tensor, image_sizes: Tensor) -> list[Tensor]:
        return self.detector.features(images, image_sizes)


class Boxes(nn.Module):
    """Feature maps and the images' sizes in, the fields of :class:`DetectedBoxes` out."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = only(detector, "rpn", "box_head")

    def forward(self, features: list[Tensor], image_sizes: Tensor) -> tuple[Tensor, ...]:
        # A package has no type for what is more than a tuple.
        return tuple(self.detector.detect(features, image_sizes))


class ImageMaps(nn.Module):
    """Feature maps in, what the mask head makes of whole images out."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = only(detector, "mask_head")

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        return self.detector.mask_head.image_maps(features)


class Masks(nn.Module):
    """Feature maps, what :class:`ImageMaps` made of them, boxes [B, N, 4] and labels [B, N] in, masks out."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = only(detector, "mask_head")

    def forward(self, features: list[Tensor], image_maps: list[Tensor], boxes: Tensor, labels: Tensor) -> Tensor:
        return self.detector.segment_all(features, boxes, labels, image_maps)


def only(detector: Detector, *names: str) -> Detector:
    """The same detector with some of its modules alone: a program keeps every weight that its module has."""
    part = copy.copy(detector)
    part._modules = {name: detector._modules[name] for name in names}
    return part
