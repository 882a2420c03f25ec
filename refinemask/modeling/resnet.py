"""ResNet with bottleneck blocks, in torchvision's naming."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from refinemask.config import BackboneConfig


class Bottleneck(nn.Module):
    """1×1, 3×3, 1×1 convolutions with a shortcut; the output has four times ``channels``."""

    def __init__(self, in_channels: int, channels: int, stride: int, stride_in_1x1: bool) -> None:
        super().__init__()
        first, second = (stride, 1) if stride_in_1x1 else (1, stride)
        self.conv1 = nn.Conv2d(in_channels, channels, 1, stride=first, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride=second, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, 4 * channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * channels)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or in_channels != 4 * channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, 4 * channels, 1, stride=stride, bias=False), nn.BatchNorm2d(4 * channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        """[B, in_channels, h, w] to [B, 4 · channels, h / stride, w / stride]."""
        out = F.relu(self.bn1(self.conv1(x)))
        out = F.relu(self.bn2(self.conv2(out)))
        return F.relu(self.bn3(self.conv3(out)) + self.downsample(x))


class ResNet(nn.Module):
    """The stages C2..C5 (strides 4, 8, 16, 32) of an image."""

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        in_channels = width
        for index, count in enumerate(config.blocks):
            channels, stride = width << index, 1 if index == 0 else 2
            blocks = [Bottleneck(in_channels, channels, stride, config.stride_in_1x1)]
            blocks += [Bottleneck(4 * channels, channels, 1, config.stride_in_1x1) for _ in range(count - 1)]
            self.add_module(f"layer{index + 1}", nn.Sequential(*blocks))
            in_channels = 4 * channels
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        self._freeze()

    def forward(self, x: Tensor) -> list[Tensor]:
        """Features [B, 4w, H/4, W/4] … [B, 32w, H/32, W/32] of a normalised image [B, 3, H, W]."""
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, stride=2, padding=1)
        stages = []
        for index in range(len(self.config.blocks)):
            x = self.get_submodule(f"layer{index + 1}")(x)
            stages.append(x)
        return stages

    def train(self, mode: bool = True) -> "ResNet":
        """Set training mode, except for frozen stages and frozen batch norm."""
        super().train(mode)
        for module in self._frozen_stages():
            module.eval()
        if self.config.frozen_norm:
            for module in self.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        return self

    def _frozen_stages(self) -> list[nn.Module]:
        if self.config.frozen_stages < 0:
            return []
        return [self.conv1, self.bn1] + [self.get_submodule(f"layer{i + 1}") for i in range(self.config.frozen_stages)]

    def _freeze(self) -> None:
        for module in self._frozen_stages():
            module.requires_grad_(False)

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """The state without batch norm's step counters, which nothing reads."""
        state = super().state_dict(*args, **kwargs)
        for key in [key for key in state if key.endswith("num_batches_tracked")]:
            del state[key]
        return state
