"""The logits of each RoI's label: the definition, the operators, and which heads have them in an exported file."""

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from refinemask.config import FCNMaskConfig, MaskHeadConfig, RefineMaskConfig
from refinemask.modeling.detector import Detector
from refinemask.ops import label_logits, logits_of_labels, logits_of_upsampled, upsampled_label_logits
from refinemask.ops.fused import fused_operators
from tests.support.tiny_detector import TINY
from tests.support.tolerances import assert_near

LABELS = torch.tensor([3, 0, 2, 2])


def random(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64)


def chosen(features: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Logits of all classes, of which each RoI takes its label's."""
    logits = F.conv2d(features, weight[..., None, None], bias)
    return logits[torch.arange(len(LABELS)), LABELS.clamp(max=len(weight) - 1)][:, None]


@pytest.mark.parametrize("rows", [4, 1])
@pytest.mark.parametrize("fused", [False, True])
def test_it_is_the_label_s_channel_of_a_convolution(fused: bool, rows: int) -> None:
    features, weight, bias = random(4, 6, 5, 5), random(rows, 6), random(rows)
    with fused_operators() if fused else torch.no_grad():
        found = logits_of_labels(features, weight, bias, LABELS)
    assert_near(found, chosen(features, weight, bias), "sums in float64")


@pytest.mark.parametrize("mask_channels", [1, 2])
@pytest.mark.parametrize("fused", [False, True])
def test_the_upsampled_features_are_never_made(fused: bool, mask_channels: int) -> None:
    coarse, masks = random(4, 6, 5, 5), random(4, mask_channels, 10, 10)
    weight, bias = random(4, 6 + mask_channels), random(4)
    with fused_operators() if fused else torch.no_grad():
        found = logits_of_upsampled(coarse, masks, weight, bias, LABELS)
    upsampled = F.interpolate(coarse, scale_factor=2, mode="bilinear", align_corners=False)
    assert_near(found, chosen(torch.cat([upsampled, masks], dim=1), weight, bias), "sums in float64")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_the_operators_keep_torch_s_contract(dtype: torch.dtype) -> None:
    """The fake kernels among it: what they say of types, shapes and strides is what comes out."""
    coarse, masks, weight, bias = (
        x.to(dtype) for x in (random(4, 6, 5, 5), random(4, 2, 10, 10), random(4, 8), random(4))
    )
    checks = ("test_schema", "test_faketensor")
    torch.library.opcheck(label_logits, (coarse, weight[:, :6], bias, LABELS.int()), test_utils=checks)
    torch.library.opcheck(upsampled_label_logits, (coarse, masks, weight, bias, LABELS.int()), test_utils=checks)
    assert label_logits(coarse, weight[:, :6], bias, LABELS.int()).dtype == torch.promote_types(dtype, torch.float32)


class Calls(TorchDispatchMode):
    """Counts the custom operators that run."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.counts[function.name().removeprefix("refinemask::")] += 1
        return function(*args, **(kwargs or {}))


HEADS: list[tuple[MaskHeadConfig, dict[str, int]]] = [
    (RefineMaskConfig(instance_convs=1, semantic_convs=1), {"label_logits": 1, "upsampled_label_logits": 3}),
    (RefineMaskConfig(instance_convs=1, semantic_convs=1, variant="simple"), {"label_logits": 4}),
    (FCNMaskConfig(convs=1), {"label_logits": 1}),
]


@pytest.mark.parametrize(("config", "expected"), HEADS, ids=lambda value: type(value).__name__)
def test_heads_have_the_operators_in_a_file_alone(config: MaskHeadConfig, expected: dict[str, int]) -> None:
    head: Any = Detector(replace(TINY, mask_head=config)).eval().mask_head
    pyramid = [torch.randn(1, TINY.fpn_channels, 64 >> level, 64 >> level) for level in range(4)]
    rois, labels = torch.tensor([[0, 5, 5, 90, 70], [0, 0, 0, 200, 200.0]]), torch.tensor([1, 0])
    with torch.no_grad():
        with Calls() as plain:
            masks = head.predict(pyramid, rois, labels)
        with fused_operators(), Calls() as fused:
            masks_of_operators = head.predict(pyramid, rois, labels)
    names = ("label_logits", "upsampled_label_logits")
    assert {name: fused.counts[name] for name in names if fused.counts[name]} == expected
    assert not any(plain.counts[name] for name in names)
    assert torch.equal(masks, masks_of_operators)
