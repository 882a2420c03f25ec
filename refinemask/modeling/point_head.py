"""PointRend's mask head: a coarse mask, then finer masks, predicted only where the previous one is uncertain."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from refinemask.config import PointRendConfig
from refinemask.modeling.blocks import MaskOutput, init_mask_convs, upsample_features
from refinemask.modeling.losses import binary_loss
from refinemask.modeling.point_sampling import point_roi_align, sample_points
from refinemask.modeling.point_targets import choose_points, point_targets
from refinemask.ops import MapChannels, full_precision
from refinemask.targets.rois import Positives, Supervision, batch_mask_targets

COARSE_SIZE = 7
SIZES = (28, 56, 112, 224)
"""Sides of the masks of the subdivisions; 14 is left out, as in the official model, and 28 is predicted as a whole."""
POINTS = 28 * 28
"""Number of points predicted anew in each subdivision."""
FINE_STRIDE = 4


class PointRendHead(nn.Module):
    """Coarse masks of 7×7 and a point head, subdivided to 224×224 (PointRend, section 3)."""

    def __init__(self, channels: int, num_classes: int, config: PointRendConfig) -> None:
        super().__init__()
        self.coarse_head = CoarseHead(channels, num_classes, config)
        self.point_head = PointHead(channels, num_classes)

    def forward(
        self, pyramid: list[Tensor], rois: Tensor, labels: Tensor, image_maps: list[Tensor] | None = None
    ) -> MaskOutput:
        """Logits at 28, 56, 112 and 224 of RoIs [R, 5] with labels [R], from P2.

        The official model replaces the logits of all classes at a point, but reads only those of the label. So only
        these are computed here.
        """
        coarse = self.coarse_head(pyramid[0], rois)
        (fine_map,) = self.image_maps(pyramid) if image_maps is None else image_maps
        every_pixel = torch.arange(POINTS, device=rois.device).expand(rois.shape[0], -1)
        points = pixel_centres(every_pixel, SIZES[0]).to(rois.dtype)
        logits = self.point_head(fine_map, coarse, rois, points, labels)
        stage_logits = [logits.unflatten(1, (1, SIZES[0], SIZES[0]))]
        for size in SIZES[1:]:
            logits = upsample_features(stage_logits[-1]).flatten(1)
            uncertain = logits.abs().topk(POINTS, largest=False).indices
            points = pixel_centres(uncertain, size).to(rois.dtype)
            logits = logits.scatter(1, uncertain, self.point_head(fine_map, coarse, rois, points, labels))
            stage_logits.append(logits.unflatten(1, (1, size, size)))
        return MaskOutput(stage_logits, None)

    def image_maps(self, pyramid: list[Tensor]) -> list[Tensor]:
        """The point head's product with the fine features."""
        return [self.point_head.fine_map(pyramid[0])]

    def predict(
        self, pyramid: list[Tensor], rois: Tensor, labels: Tensor, image_maps: list[Tensor] | None = None
    ) -> Tensor:
        """Mask probabilities [R, 224, 224]."""
        return self(pyramid, rois, labels, image_maps).stage_logits[-1].sigmoid()[:, 0]

    def losses(self, pyramid: list[Tensor], positives: Positives, supervision: Supervision) -> dict[str, Tensor]:
        """The losses of the coarse masks, and of points chosen by their uncertainty."""
        rois, labels, owners = positives
        coarse = self.coarse_head(pyramid[0], rois)
        own = coarse[torch.arange(len(labels), device=labels.device), labels]
        images = [rois[:, 0] == index for index in range(len(supervision.targets))]
        chosen = zip(images, supervision.generators, strict=True)
        points = torch.cat([choose_points(own[here].detach(), generator) for here, generator in chosen])
        logits = self.point_head(self.point_head.fine_map(pyramid[0]), coarse, rois, points, labels)
        values = [
            point_targets(target.masks, rois[here, 1:], owners[here], points[here])
            for here, target in zip(images, supervision.targets, strict=True)
        ]
        (masks,) = batch_mask_targets(supervision.targets, positives, (COARSE_SIZE,))
        return {
            "mask_coarse": binary_loss(own.float(), masks),
            "mask_points": binary_loss(logits, torch.cat(values)),
        }


class CoarseHead(nn.Module):
    """Two fully connected layers on 7×7 features predict the masks of all classes (official ``CoarseMaskHead``)."""

    def __init__(self, channels: int, num_classes: int, config: PointRendConfig) -> None:
        super().__init__()
        self.downsample = nn.Conv2d(channels, channels, 2, stride=2)
        self.fc1 = nn.Linear(channels * COARSE_SIZE**2, config.hidden)
        self.fc2 = nn.Linear(config.hidden, config.hidden)
        self.logits = nn.Linear(config.hidden, num_classes * COARSE_SIZE**2)
        init_mask_convs(self)
        for layer in (self.fc1, self.fc2):
            nn.init.xavier_uniform_(layer.weight)
        nn.init.normal_(self.logits.weight, std=0.001)
        for layer in (self.fc1, self.fc2, self.logits):
            nn.init.zeros_(layer.bias)

    def forward(self, p2: Tensor, rois: Tensor) -> Tensor:
        """Logits [R, C, 7, 7] of RoIs [R, 5]."""
        x = F.relu(self.downsample(point_roi_align(MapChannels(p2), rois, 2 * COARSE_SIZE)))
        x = F.relu(self.fc2(F.relu(self.fc1(x.flatten(1)))))
        return self.logits(x).unflatten(1, (-1, COARSE_SIZE, COARSE_SIZE))


class PointHead(nn.Module):
    """A perceptron at each point; the coarse logits of all classes join the input of every layer."""

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.channels = channels
        self.fc1 = nn.Linear(channels + num_classes, channels)
        self.fc2 = nn.Linear(channels + num_classes, channels)
        self.fc3 = nn.Linear(channels + num_classes, channels)
        self.predictor = nn.Linear(channels + num_classes, num_classes)
        for layer in (self.fc1, self.fc2, self.fc3):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        nn.init.normal_(self.predictor.weight, std=0.001)
        for layer in (self.fc1, self.fc2, self.fc3, self.predictor):
            nn.init.zeros_(layer.bias)

    def fine_map(self, p2: Tensor) -> Tensor:
        """The first layer's product with the fine features, [B, c, H/4, W/4], before any sampling.

        A linear map commutes with sampling, and there are several times more points than pixels.
        """
        return F.conv2d(p2, self.fc1.weight[:, : self.channels, None, None])

    def forward(self, fine_map: Tensor, coarse: Tensor, rois: Tensor, points: Tensor, labels: Tensor) -> Tensor:
        """The label's logits [R, P] float32 at points of RoIs.

        Args:
            fine_map: what :meth:`fine_map` made of P2.
            coarse: [R, C, 7, 7] logits of the coarse head.
            rois: [R, 5] in input pixels.
            points: [R, P, 2] (x, y) relative to the RoI, 0 to 1.
            labels: [R].
        """
        low, high = rois[:, None, 1:3], rois[:, None, 3:]
        fine = sample_points(fine_map, rois[:, 0].long(), (low + points * (high - low)) / FINE_STRIDE)
        own_map = torch.arange(rois.shape[0], device=rois.device)
        coarse = sample_points(coarse, own_map, points * COARSE_SIZE)
        x = F.relu(fine + F.linear(coarse, self.fc1.weight[:, self.channels :], self.fc1.bias))
        x = F.relu(self.fc2(torch.cat([x, coarse], dim=2)))
        x = F.relu(self.fc3(torch.cat([x, coarse], dim=2)))
        weight, bias = self.predictor.weight[labels], self.predictor.bias[labels]
        logits = torch.bmm(torch.cat([x, coarse], dim=2), weight[..., None].to(x.dtype))
        return full_precision(logits[..., 0] + bias[:, None])


def pixel_centres(index: Tensor, size: int) -> Tensor:
    """Centres [..., 2] (x, y) of pixels of a ``size`` × ``size`` grid, counted row by row; the grid's side is 1."""
    return (torch.stack([index % size, index // size], dim=-1) + 0.5) / size
