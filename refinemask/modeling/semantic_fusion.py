"""Semantic fusion module: parallel dilated convolutions (paper section 3.2; official ``MultiBranchFusion``)."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

DILATIONS = (1, 3, 5)


class SemanticFusion(nn.Module):
    """The sum of ReLU-ed 3×3 convolutions of different dilation, merged by a 1×1 convolution and a ReLU.

    With ``global_average`` the input's mean over the map joins the sum.
    """

    def __init__(self, channels: int, dilations: Sequence[int], global_average: bool = False) -> None:
        super().__init__()
        self.dilated_convs = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=d, dilation=d) for d in dilations)
        self.merge = nn.Conv2d(channels, channels, 1)
        self.global_average = global_average

    def forward(self, x: Tensor) -> Tensor:
        """Fused features [R, c, s, s], from features of the same shape."""
        first, *others = (F.relu(conv(x)) for conv in self.dilated_convs)
        total = sum(others, start=first)
        if self.global_average:
            total = total + x.mean(dim=(2, 3), keepdim=True)
        return F.relu(self.merge(total))
