"""The kernels of SelectProposals, run on the CPU, against NumPy in the same order of operations and eager formulas."""

import ctypes
from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from refinemask.config import RPNConfig
from refinemask.modeling.anchors import pyramid_anchors
from refinemask.modeling.box_coder import MAX_LOG_SCALE, clip, decode
from tests.support.tolerances import TOLERANCES
from trt_plugins.c_api import FeatureMap, KernelError, Kernels
from trt_plugins.torch_kernels import TorchKernels

Floats = NDArray[np.float32]
NAN, INF = float("nan"), float("inf")
TYPES = torch.float32, torch.float16, torch.bfloat16
LAYOUTS = "planar", "channels last"
KINDS = "ties", "special"
SHORT = (13, 21), (7, 11), (4, 6), (2, 3), (1, 1)
"""Sizes of a pyramid whose last level has three anchors, if a cell has three."""
LONG = (48, 64), (24, 33), (12, 17), (6, 9), (3, 5)
"""Sizes of a pyramid whose first level is too long for one kernel of the top-k."""
CASES = {
    "fewer anchors than k": (SHORT, 3, 2, 40),
    "one of each level": (SHORT, 3, 2, 1),
    "one anchor of a cell": (SHORT, 1, 1, 7),
    "five anchors of a cell": (SHORT, 5, 3, 15),
    "a long level": (LONG, 3, 2, 300),
}
"""Sizes, anchors of a cell, images and k."""
expf = ctypes.CDLL(None).expf
expf.argtypes, expf.restype = [ctypes.c_float], ctypes.c_float
exponential = np.vectorize(expf, otypes=[np.float32])


def base_anchors(num_anchors: int) -> Tensor:
    ratios = tuple(0.5 + index / 2 for index in range(num_anchors))
    config = RPNConfig(anchor_ratios=ratios)
    return torch.stack(pyramid_anchors([(1, 1)] * 5, config, torch.device("cpu")))


def random_maps(
    sizes: Sequence[tuple[int, int]], num_anchors: int, batch: int, dtype: torch.dtype, kind: str, layout: str
) -> list[Tensor]:
    """Channels-last ones are the first channels of maps that are NaN behind them."""
    generator = torch.Generator().manual_seed(len(kind))
    maps = []
    for height, width in sizes:
        values = torch.randn(batch, 5 * num_anchors, height, width, generator=generator)
        values[:, num_anchors:] *= 0.5
        if kind == "ties":
            values[:, :num_anchors] = values[:, :num_anchors].mul(2).round()
        if kind == "special":
            odd = torch.tensor([NAN, INF, -INF, 0.0, -0.0, 1e-45, 6e4, -6e4, -NAN])
            logits = odd[torch.randint(len(odd), values.shape, generator=generator)]
            values = torch.where(torch.rand(values.shape, generator=generator) < 0.5, logits, values)
        maps.append(stored(values.to(dtype), layout))
    return maps


def stored(values: Tensor, layout: str) -> Tensor:
    if layout == "planar":
        return values
    channels, vector = values.shape[1], 16 // values.element_size()
    wide = torch.full((len(values), *values.shape[2:], -(-channels // vector) * vector), NAN, dtype=values.dtype)
    wide[..., :channels] = values.permute(0, 2, 3, 1)
    return wide.permute(0, 3, 1, 2)[:, :channels]


def image_sizes(sizes: Sequence[tuple[int, int]], batch: int) -> Tensor:
    """Of images that cut many boxes off, each smaller than the one before."""
    return torch.tensor([[4 * sizes[0][0] - 9 * b, 4 * sizes[0][1] - 5.5 * b] for b in range(batch)])


def by_definition(maps: Sequence[Floats], anchors: Floats, images: Floats, k: int) -> tuple[Floats, Floats]:
    """Boxes and scores, each operation in float32."""
    boxes = np.zeros((len(images), 5, k, 4), np.float32)
    scores = np.full((len(images), 5, k), -1, np.float32)
    for image, level in np.ndindex(len(images), 5):
        values, (num_anchors, _) = maps[level][image], anchors[level].shape
        _, height, width = values.shape
        logits = values[:num_anchors].transpose(1, 2, 0).ravel()
        exact = logits.astype(np.float64)
        chosen = np.lexsort((np.arange(len(exact)), -np.where(np.isnan(exact), 0, exact), ~np.isnan(exact)))[:k]
        row, column, anchor = np.unravel_index(chosen, (height, width, num_anchors))
        dx, dy, dw, dh = (values[num_anchors + 4 * anchor + j, row, column] for j in range(4))
        stride = np.float32(4 << level)
        cell = np.stack([column, row, column, row], axis=1).astype(np.float32) * stride + anchors[level][anchor]
        with np.errstate(all="ignore"):
            for axis, shift, log_scale in ((0, dx, dw), (1, dy, dh)):
                low, high, limit = cell[:, axis], cell[:, axis + 2], images[image][1 - axis]
                centre = np.float32(0.5) * (low + high) + shift * (high - low)
                bound = np.float32(MAX_LOG_SCALE)
                half = np.float32(0.5) * ((high - low) * exponential(np.clip(log_scale, -bound, bound)))
                for side, value in ((axis, centre - half), (axis + 2, centre + half)):
                    boxes[image, level, : len(chosen), side] = np.minimum(np.maximum(value, 0), limit)
            scores[image, level, : len(chosen)] = 1 / (1 + exponential(-logits[chosen]))
    return boxes.reshape(-1, k, 4), scores.reshape(-1, k)


def assert_exact(kernels: Kernels, maps: Sequence[Tensor], anchors: Tensor, images: Tensor, k: int) -> None:
    found = TorchKernels(kernels).select_proposals(maps, anchors, images, k)
    expected = by_definition([each.float().numpy() for each in maps], anchors.numpy(), images.numpy(), k)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("case", "dtype", "layout"),
    [
        *product(["fewer anchors than k"], TYPES, LAYOUTS),
        *((case, torch.float16, "channels last") for case in CASES),
        ("a long level", torch.float32, "planar"),
    ],
    ids=str,
)
def test_equals_the_definition(host_kernels: Kernels, case: str, dtype: torch.dtype, layout: str, kind: str) -> None:
    sizes, num_anchors, batch, k = CASES[case]
    maps = random_maps(sizes, num_anchors, batch, dtype, kind, layout)
    assert_exact(host_kernels, maps, base_anchors(num_anchors), image_sizes(sizes, batch), k)


@pytest.mark.parametrize("scales", [False, True])
def test_equals_the_eager_formulas(host_kernels: Kernels, scales: bool) -> None:
    """To the last bit where no exponential of another library takes part."""
    k = 30
    maps = random_maps(SHORT, 3, 2, torch.float32, "normal", "planar")
    for each in maps:
        each.unflatten(1, (5, 3))[:, 1:].flatten(1, 2).unflatten(1, (3, 4))[:, :, 2:] *= scales
    images = image_sizes(SHORT, 2)
    boxes, scores = TorchKernels(host_kernels).select_proposals(maps, base_anchors(3), images, k)
    anchors = pyramid_anchors(SHORT, RPNConfig(anchor_ratios=(0.5, 1.0, 1.5)), torch.device("cpu"))
    for level, (each, references) in enumerate(zip(maps, anchors, strict=True)):
        values = each.permute(0, 2, 3, 1)
        count = min(k, len(references))
        logits, order = values[..., :3].flatten(1).sort(dim=1, descending=True, stable=True)
        deltas = values[..., 3:].reshape(2, -1, 4)
        expected = clip(decode(deltas, references), images).gather(1, order[:, :count, None].expand(-1, -1, 4))
        coder, operation = TOLERANCES["box coder"], TOLERANCES["one float32 operation"]
        torch.testing.assert_close(
            boxes[level::5, :count],
            expected,
            atol=coder.absolute * scales,
            rtol=coder.relative * scales,
        )
        torch.testing.assert_close(
            scores[level::5, :count],
            logits.sigmoid()[:, :count],
            atol=operation.absolute,
            rtol=operation.relative,
        )
        assert boxes[level::5, count:].eq(0).all()
        assert scores[level::5, count:].eq(-1).all()


def test_an_infinitely_small_logit_comes_before_padding(host_kernels: Kernels) -> None:
    maps = [torch.full((1, 15, 1, 2), -INF) for _ in range(5)]
    for each in maps:
        each[:, 3:] = 0
    anchors = base_anchors(3)
    boxes, scores = TorchKernels(host_kernels).select_proposals(maps, anchors, torch.tensor([[999.0, 999.0]]), 8)
    assert scores.tolist() == [[0.0] * 6 + [-1.0] * 2] * 5
    for level in range(5):
        cells = torch.tensor([[0.0, 0, 0, 0], [4 << level, 0, 4 << level, 0]])
        expected = (cells[:, None] + anchors[level]).flatten(0, 1).clamp(min=0)
        assert torch.equal(boxes[level, :6], expected)
    assert boxes[:, 6:].eq(0).all()


@pytest.mark.parametrize("seed", [1, 2])
def test_thread_order_does_not_matter(
    host_kernels: Kernels, schedule: Callable[[int, int, int], None], seed: int
) -> None:
    schedule(seed, 4, 100)
    maps = random_maps(LONG, 3, 2, torch.float16, "ties", "channels last")
    assert_exact(host_kernels, maps, base_anchors(3), image_sizes(LONG, 2), 200)


@given(
    sizes=st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=5, max_size=5),
    num_anchors=st.integers(1, 4),
    batch=st.integers(1, 3),
    k=st.integers(1, 60),
    dtype=st.sampled_from(TYPES),
    layout=st.sampled_from(LAYOUTS),
    kind=st.sampled_from(KINDS),
)
@example(
    sizes=[(1, 1)] * 5, num_anchors=1, batch=1, k=1000, dtype=torch.float16, layout="channels last", kind="special"
)
@settings(max_examples=20, deadline=None)
def test_any_pyramid(host_library: str, k: int, **options: Any) -> None:
    sizes, num_anchors, batch = options["sizes"], options["num_anchors"], options["batch"]
    assert_exact(Kernels(host_library), random_maps(**options), base_anchors(num_anchors), image_sizes(sizes, batch), k)


def test_channels_last_maps_are_read_in_place(host_kernels: Kernels, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr(host_kernels, "select_proposals", lambda *each, **options: calls.append((each[0], options)))
    for layout in LAYOUTS:
        maps = random_maps(SHORT, 3, 2, torch.float16, "normal", layout)
        TorchKernels(host_kernels).select_proposals(maps, base_anchors(3), image_sizes(SHORT, 2), 5)
        levels, options = calls[-1]
        assert levels == [FeatureMap(each.data_ptr(), *each.shape[2:]) for each in maps]
        assert options["layout"] == LAYOUTS.index(layout)


def test_no_image_has_no_proposals(host_kernels: Kernels) -> None:
    maps = random_maps(SHORT, 3, 0, torch.float32, "normal", "planar")
    boxes, scores = TorchKernels(host_kernels).select_proposals(maps, base_anchors(3), torch.zeros(0, 2), 5)
    assert boxes.shape == (0, 5, 4)
    assert scores.shape == (0, 5)


REFUSED: dict[str, dict[str, Any]] = {
    "the type is not float, half or bfloat16": {"type": 3},
    "the layout is neither planar nor interleaved": {"layout": 2},
    "there are not 0 to 65535 images": {"batch": 65536},
    "a cell does not have 1 to 1024 anchors": {"num_anchors": 0},
    "k is not 1 to 4096": {"k": 4097},
    "a map does not have 1 to 65536 rows and columns": {"levels": [FeatureMap(0, 8, 1 << 17)] * 5},
    r"an image has more than 2\^30 anchors": {"levels": [FeatureMap(0, 1 << 14, 1 << 14)] * 5},
}


@pytest.mark.parametrize(("reason", "change"), REFUSED.items(), ids=str)
def test_what_cannot_be_run_is_refused_in_words(host_kernels: Kernels, reason: str, change: dict[str, Any]) -> None:
    call: dict[str, Any] = {"levels": [FeatureMap(0, 8, 8)] * 5, "batch": 0, "num_anchors": 3, "k": 10, "type": 0}
    call |= dict.fromkeys(("base_anchors", "image_sizes", "boxes", "scores", "workspace"), 0)
    host_kernels.select_proposals(**call)
    with pytest.raises(KernelError, match=f"refinemask_select_proposals: {reason}; it was called with .*k="):
        host_kernels.select_proposals(**call | change)
