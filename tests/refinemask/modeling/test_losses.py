"""Every loss term against float64 code written from the formulas, and against the official values."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from refinemask.modeling.detector import Detector
from refinemask.modeling.losses import binary_loss, box_losses, rpn_losses
from refinemask.modeling.refine_mask_head import LOSS_WEIGHTS
from refinemask.modeling.refine_mask_losses import refine_mask_losses
from tests.support.tolerances import TOLERANCES

Array = NDArray[np.float64]
EXACT = TOLERANCES["loss in float32"]


def close(value: torch.Tensor, expected: float) -> None:
    np.testing.assert_allclose(float(value.detach()), expected, rtol=EXACT.relative, atol=EXACT.absolute)


def cross_entropy(x: Array, y: Array) -> Array:
    """-y log σ(x) - (1 - y) log(1 - σ(x))."""
    probability = 1 / (1 + np.exp(-x))
    return -(y * np.log(probability) + (1 - y) * np.log(1 - probability))


def boundary(mask: Array, width: int) -> Array:
    """Pixels of [n, n] that differ from more than a tenth of the window around them; outside is background."""
    n, window = len(mask), 2 * width + 1
    padded = np.pad(mask, width)
    result = np.zeros_like(mask)
    for row in range(n):
        for column in range(n):
            different = padded[row : row + window, column : column + window] != mask[row, column]
            result[row, column] = different.sum() / window**2 > 0.1
    return result


def upsample(x: Array) -> Array:
    """Twice the size, bilinear, corners on corners."""
    n = len(x)
    position = np.arange(2 * n) * (n - 1) / (2 * n - 1)
    low = np.minimum(position.astype(int), n - 2)
    weights = np.zeros((2 * n, n))
    weights[np.arange(2 * n), low] = 1 - (position - low)
    weights[np.arange(2 * n), low + 1] = position - low
    return weights @ x @ weights.T


def stage_losses(logits: list[Array], targets: list[Array]) -> tuple[list[float], list[Array]]:
    """The four losses and the regions of the last two, RoI by RoI."""
    losses = [float(cross_entropy(logits[k], targets[k]).mean()) for k in (0, 1)]
    regions: list[Array] = []
    refined = list(logits[1])
    for stage in (2, 3):
        region, finer = [], []
        for roi, coarse in enumerate(refined):
            mask = (1 / (1 + np.exp(-coarse)) >= 0.5).astype(float)
            near = np.maximum(boundary(mask, 2), boundary(targets[stage - 1][roi], 2))
            region.append(upsample(near) >= 0.5)
            replaced = upsample(boundary(mask, 1)) >= 0.5
            finer.append(np.where(replaced, logits[stage][roi], upsample(coarse)))
        regions.append(np.stack(region))
        inside = cross_entropy(logits[stage], targets[stage])[regions[-1]]
        losses.append(float(inside.sum() / max(regions[-1].sum(), 1)))
        refined = finer
    return losses, regions


def blobs(generator: np.random.Generator, count: int, n: int) -> Array:
    """Smooth random logits, so that masks have boundaries and interiors."""
    y, x = np.mgrid[:n, :n] / n
    phases = generator.uniform(0, 6, (count, 4, 1, 1))
    waves = np.sin(5 * x + phases[:, 0]) + np.sin(5 * y + phases[:, 1]) + np.sin(9 * x * y + phases[:, 2])
    return waves + 0.3 * generator.normal(size=(count, n, n))


def test_stage_losses_follow_the_formulas() -> None:
    random = np.random.default_rng(1)
    sizes = (7, 14, 28, 56)
    logits = [blobs(random, 3, n) for n in sizes]
    targets = [(blobs(random, 3, n) > 0).astype(float) for n in sizes]
    tensors = [torch.tensor(x[:, None], dtype=torch.float32, requires_grad=True) for x in logits]
    ours = refine_mask_losses(tensors, [torch.tensor(t, dtype=torch.float32) for t in targets])
    expected, regions = stage_losses(logits, targets)
    for value, reference in zip(ours, expected, strict=True):
        close(value, reference)
    assert all(0.1 < region.mean() < 0.9 for region in regions)
    torch.stack(ours).sum().backward()
    for tensor, region in zip(tensors[2:], regions, strict=True):
        assert tensor.grad is not None
        np.testing.assert_array_equal(tensor.grad.numpy()[:, 0] != 0, region)


def test_stage_losses_and_regions_equal_the_official_ones(
    golden: Callable[[str], dict[str, np.ndarray]], official_detector: Callable[[str], Detector]
) -> None:
    data = golden("mask_loss")
    pyramid = [torch.from_numpy(data["p2"])]
    for _ in range(3):
        pyramid.append(F.avg_pool2d(pyramid[-1], 2))
    rois, labels = torch.from_numpy(data["rois"]), torch.from_numpy(data["labels"])
    with torch.no_grad():
        head: Any = official_detector("r50-coco").mask_head
        output = head(pyramid, rois, labels)
    logits = [x.requires_grad_() for x in output.stage_logits]
    targets = []
    for stage, x in enumerate(logits):
        bits = np.unpackbits(data[f"target{stage}_polygon_bits"])[: x.numel()]
        targets.append(torch.from_numpy(bits).reshape(x.shape)[:, 0].float())
    losses = refine_mask_losses(logits, targets)
    for value, expected in zip(losses, data["loss_per_stage_unweighted"], strict=True):
        close(value, float(expected))
    total = (torch.stack(losses) * torch.tensor(LOSS_WEIGHTS)).sum()
    close(total, float(data["loss_instance"]))
    total.backward()
    for stage, x in enumerate(logits):
        official = np.unpackbits(data[f"grad_nonzero{stage}_bits"])[: x.numel()].reshape(x.shape)
        np.testing.assert_array_equal((x.grad != 0).numpy(), official)
        close(x.grad.double().abs().sum(), float(data[f"grad{stage}_abs_sum"]))


def test_semantic_loss_equals_the_official_one(golden: Callable[[str], dict[str, np.ndarray]]) -> None:
    data = golden("mask_loss")
    target = torch.from_numpy(data["semantic_target"])[:, None].float()
    close(binary_loss(torch.from_numpy(data["semantic_logits"]), target), float(data["loss_semantic"]))


def test_rpn_losses_follow_the_formulas() -> None:
    random = np.random.default_rng(2)
    logits, labels = random.normal(size=20), np.array([1.0] * 6 + [0.0] * 14)
    deltas, targets = random.normal(size=(2, 6, 4))
    tensors = [torch.tensor(x, dtype=torch.float32) for x in (logits, deltas, labels, targets)]
    ours = rpn_losses(tensors[0], tensors[1], tensors[2], tensors[3])
    close(ours[0], cross_entropy(logits, labels).sum() / 20)
    close(ours[1], np.abs(deltas - targets).sum() / 20)


@pytest.mark.parametrize("beta", [None, 1.0])
def test_box_losses_follow_the_formulas(beta: float | None) -> None:
    random = np.random.default_rng(3)
    logits, deltas = random.normal(size=(9, 4)), random.normal(size=(9, 12))
    labels = np.array([0, 2, 1, 3, 3, 3, 2, 3, 3])
    positive = np.flatnonzero(labels < 3)
    targets = random.normal(size=(len(positive), 4))
    ours = box_losses(
        torch.tensor(logits, dtype=torch.float32),
        torch.tensor(deltas, dtype=torch.float32),
        torch.from_numpy(labels),
        torch.tensor(targets, dtype=torch.float32),
        beta,
    )
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    close(ours[0], -np.log(shares[np.arange(9), labels]).sum() / 9)
    total = 0.0
    for target, row in zip(targets, positive, strict=True):
        for k in range(4):
            error = abs(deltas[row, 4 * labels[row] + k] - target[k])
            if beta is None:
                total += error
            else:
                total += 0.5 * error**2 / beta if error < beta else error - 0.5 * beta
    close(ours[1], total / 9)


def test_nothing_sampled_costs_nothing_but_keeps_the_graph() -> None:
    logits = [torch.zeros(0, 1, n, n, requires_grad=True) for n in (14, 28, 56, 112)]
    losses = refine_mask_losses(logits, [torch.zeros(0, n, n) for n in (14, 28, 56, 112)])
    assert [float(loss.detach()) for loss in losses] == [0.0] * 4
    torch.stack(losses).sum().backward()
