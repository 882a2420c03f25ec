"""The detector: from images to boxes and masks in one forward pass, the same for PyTorch, ONNX and TensorRT."""

import torch
from torch import Tensor, nn

from refinemask.config import ModelConfig
from refinemask.modeling.anchors import STRIDES
from refinemask.modeling.boundaries import boundary
from refinemask.modeling.box_head import DetectedBoxes
from refinemask.modeling.families import family_of
from refinemask.modeling.fpn import FPN
from refinemask.modeling.resnet import ResNet
from refinemask.modeling.rpn import RPN, Proposals
from refinemask.ops import constant, to_rois
from refinemask.structures import Detections


class Detector(nn.Module):
    """ResNet → FPN → RPN → box head → mask head.

    Proposals and detections are padded to fixed numbers. A traced graph segments a fixed number of places
    (:meth:`segment_all`), so all its shapes depend on the input's shape alone.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = ResNet(config.backbone)
        self.fpn = FPN(config.backbone, config.fpn_channels)
        self.rpn = RPN(config.fpn_channels, config.rpn)
        family, channels, num_classes = family_of(config.mask_head), config.fpn_channels, config.num_classes
        self.context = family.context(channels, config.mask_head)
        self.box_head = family.box_head(channels, num_classes, config.box_head, config.mask_head)
        self.mask_head = family.mask_head(channels, num_classes, config.mask_head)

    def forward(self, images: Tensor, image_sizes: Tensor) -> Detections:
        """Detect and segment.

        Args:
            images: [B, 3, H, W] RGB, H and W multiples of 32, padded at the bottom and right; uint8, or a float
                type when already normalised.
            image_sizes: [B, 2] int64, (height, width) of the valid part.

        Returns:
            The detections as tensors, boxes in pixels of the padded images.
        """
        features = self.features(images, image_sizes)
        detected = self.detect(features, image_sizes)
        return Detections(*detected, self.segment(features, detected))

    def features(self, images: Tensor, image_sizes: Tensor) -> list[Tensor]:
        """The feature maps that all heads read: P2..P6, and what the family's context adds behind them."""
        return self.context(self.pyramid(self.normalize(images, image_sizes)))

    def detect(self, features: list[Tensor], image_sizes: Tensor) -> DetectedBoxes:
        """The detected boxes, from what :meth:`features` returned."""
        pyramid, rpn = features[: len(STRIDES)], self.config.rpn
        maps = self.rpn(pyramid)
        for kind, levels in maps._asdict().items():
            for level, x in enumerate(levels or ()):
                boundary(f"rpn_{kind}_{level}", x)
        boxes, scores = self.rpn.propose(
            maps, self.rpn.anchors(pyramid), image_sizes, rpn.candidates_per_level, rpn.proposals
        )
        proposals = Proposals(boundary("proposals", boxes), boundary("proposal_scores", scores))
        return self.box_head.detect(features, proposals, image_sizes)

    def segment(self, features: list[Tensor], detected: DetectedBoxes) -> Tensor:
        """Mask probabilities [B, K, M, M] of the detections; places of padding are not computed and stay zero."""
        places = torch.arange(detected.labels.shape[1], device=detected.labels.device)
        real = (places < detected.num_detections[:, None]).flatten()
        rois, labels = to_rois(detected.boxes), detected.labels.flatten()
        predicted = self.mask_head.predict(features, rois[real], labels[real])
        masks = predicted.new_zeros(len(rois), *predicted.shape[1:])
        masks[real] = predicted
        return masks.unflatten(0, detected.labels.shape)

    def segment_all(
        self, features: list[Tensor], boxes: Tensor, labels: Tensor, image_maps: list[Tensor] | None = None
    ) -> Tensor:
        """Mask probabilities [B, N, M, M] of all places, whether they hold a detection or not.

        This is for traced graphs, whose shapes must not depend on which places hold a detection.

        Args:
            features: what :meth:`features` returned.
            boxes: [B, N, 4] in input pixels.
            labels: [B, N] int64.
            image_maps: what the mask head's ``image_maps`` made of the features; None computes it here.
        """
        masks = self.mask_head.predict(features, to_rois(boxes), labels.flatten(), image_maps)
        return masks.unflatten(0, labels.shape)

    def normalize(self, images: Tensor, image_sizes: Tensor) -> Tensor:
        """The network's input: normalised, and zero outside each image's valid part."""
        if images.is_floating_point():
            return images
        preprocessing = self.config.preprocessing
        mean = constant(preprocessing.mean, images.device)[:, None, None]
        scale = 1 / constant(preprocessing.std, images.device)[:, None, None]
        rows = torch.arange(images.shape[2], device=images.device)[:, None] < image_sizes[:, 0, None, None]
        columns = torch.arange(images.shape[3], device=images.device) < image_sizes[:, 1, None, None]
        return torch.where((rows & columns)[:, None], (images.float() - mean) * scale, 0.0)

    def pyramid(self, images: Tensor) -> list[Tensor]:
        """P2..P6 of normalised images."""
        return self.fpn(self.backbone(images.to(self.backbone.conv1.weight.dtype)))
