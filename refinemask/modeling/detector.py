"""The detector: from images to boxes and masks in one forward pass, the same for PyTorch, ONNX and TensorRT."""

import torch
from torch import Tensor, nn

from refinemask.config import ModelConfig
from refinemask.modeling.box_head import DetectedBoxes
from refinemask.modeling.families import family_of
from refinemask.modeling.fpn import FPN
from refinemask.modeling.resnet import ResNet
from refinemask.modeling.rpn import RPN
from refinemask.ops import to_rois
from refinemask.structures import Detections


class Detector(nn.Module):
    """ResNet → FPN → RPN → box head → mask head.

    Proposals and detections are padded to fixed numbers. A traced graph segments a fixed number of places
    (:meth:`segment_first`), so all its shapes depend on the input's shape alone.
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
        features, detected = self.detect(images, image_sizes)
        return Detections(*detected, self.segment(features, detected))

    def detect(self, images: Tensor, image_sizes: Tensor) -> tuple[list[Tensor], DetectedBoxes]:
        """The feature maps that heads read, and the detected boxes: all that :meth:`segment` needs."""
        pyramid = self.pyramid(self.normalize(images, image_sizes))
        rpn = self.config.rpn
        proposals = self.rpn.propose(
            self.rpn(pyramid), self.rpn.anchors(pyramid), image_sizes, rpn.candidates_per_level, rpn.proposals
        )
        features = self.context(pyramid)
        return features, self.box_head.detect(features, proposals, image_sizes)

    def segment(self, features: list[Tensor], detected: DetectedBoxes) -> Tensor:
        """Mask probabilities [B, K, M, M] of the detections; places of padding are not computed and stay zero."""
        places = torch.arange(detected.labels.shape[1], device=detected.labels.device)
        real = (places < detected.num_detections[:, None]).flatten()
        rois, labels = to_rois(detected.boxes), detected.labels.flatten()
        predicted = self.mask_head.predict(features, rois[real], labels[real])
        masks = predicted.new_zeros(len(rois), *predicted.shape[1:])
        masks[real] = predicted
        return masks.unflatten(0, detected.labels.shape)

    def segment_first(self, features: list[Tensor], detected: DetectedBoxes, count: int) -> Tensor:
        """Mask probabilities [B, count, M, M] of the first places of every image, whether they hold a detection or not.

        This is for traced graphs, whose shapes must not depend on which places hold a detection.
        """
        labels = detected.labels[:, :count]
        masks = self.mask_head.predict(features, to_rois(detected.boxes[:, :count]), labels.flatten())
        return masks.unflatten(0, labels.shape)

    def normalize(self, images: Tensor, image_sizes: Tensor) -> Tensor:
        """The network's input: normalised, and zero outside each image's valid part."""
        if images.is_floating_point():
            return images
        preprocessing = self.config.preprocessing
        mean = torch.tensor(preprocessing.mean, device=images.device)[:, None, None]
        scale = 1 / torch.tensor(preprocessing.std, device=images.device)[:, None, None]
        rows = torch.arange(images.shape[2], device=images.device)[:, None] < image_sizes[:, 0, None, None]
        columns = torch.arange(images.shape[3], device=images.device) < image_sizes[:, 1, None, None]
        return torch.where((rows & columns)[:, None], (images.float() - mean) * scale, 0.0)

    def pyramid(self, images: Tensor) -> list[Tensor]:
        """P2..P6 of normalised images."""
        return self.fpn(self.backbone(images.to(self.backbone.conv1.weight.dtype)))
