"""The pasting kernels, run on the CPU, against the paste in NumPy: the same strings, byte for byte."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask
from torch import Tensor

from benchmarks.harness.random_detections import random_detections
from refinemask.files import UserError
from refinemask.masks import paste_rle, paste_runs
from trt_plugins.c_api import NOT_FINITE_RUNS, KernelError, Kernels
from trt_plugins.torch_kernels import PastedMasks, TorchKernels


def strings(pasted: PastedMasks) -> list[bytes]:
    """The strings of all masks, one after the other."""
    lengths = pasted.num_bytes.flatten().tolist()
    text = pasted.strings[: sum(lengths)].numpy().tobytes()
    ends = np.cumsum(lengths).tolist()
    return [text[end - length : end] for length, end in zip(lengths, ends, strict=True)]


def pasted_by(kernels: Kernels, masks: Tensor, boxes: Tensor, height: int, width: int) -> PastedMasks:
    capacity = (masks.shape[1] + 1) * width + 1
    return TorchKernels(kernels).paste_rle(masks[None], boxes[None], [(height, width)], capacity=capacity)


def assert_equals_numpy(kernels: Kernels, masks: Tensor, boxes: Tensor, height: int, width: int) -> None:
    pasted = pasted_by(kernels, masks, boxes, height, width)
    expected = paste_runs(masks.numpy(), boxes.numpy(), height, width)
    assert pasted.num_runs[0].tolist() == list(map(len, expected))
    for ends, runs in zip(pasted.ends[0].numpy(), expected, strict=True):
        assert np.diff(ends[: len(runs)], prepend=0).tolist() == runs.tolist()
    assert strings(pasted) == [rle["counts"] for rle in paste_rle(masks.numpy(), boxes.numpy(), height, width)]


@pytest.mark.parametrize(("mask_size", "height", "width"), [(112, 480, 640), (28, 300, 200), (14, 64, 1333)])
def test_strings_of_detections(host_kernels: Kernels, mask_size: int, height: int, width: int) -> None:
    assert_equals_numpy(host_kernels, *random_detections(25, height, width, mask_size=mask_size), height, width)


COORDINATE = st.floats(-40, 90, width=32) | st.floats(width=32, allow_nan=False, allow_infinity=False)


@settings(deadline=None, max_examples=300)
@given(
    boxes=st.lists(st.tuples(COORDINATE, COORDINATE, COORDINATE, COORDINATE), min_size=1, max_size=3),
    shape=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    samples=st.tuples(st.integers(1, 70), st.integers(1, 30)),
    sharpness=st.sampled_from([0.0, 1.0, 4.0, 1000.0]),
    seed=st.integers(0, 2**16),
)
def test_any_box(
    host_library: str,
    boxes: list[tuple[float, ...]],
    shape: tuple[int, int],
    samples: tuple[int, int],
    sharpness: float,
    seed: int,
) -> None:
    """Boxes that are empty, inverted, beyond the image, of subnormal and of the largest size are among them."""
    noise = np.random.default_rng(seed).normal(0, sharpness, (len(boxes), *samples))
    masks = (1 / (1 + np.exp(-noise.clip(-80, 80)))).astype(np.float32)
    assert_equals_numpy(Kernels(host_library), torch.from_numpy(masks), torch.tensor(boxes), *shape)


@pytest.mark.parametrize("mask_size", [1, 2, 28, 32, 64])
@pytest.mark.parametrize(
    "box",
    [
        *((5, 3, 5, 9), (5, 3, 9, 3), (0, 0, 0, 0), (40, 30, 40, 30), (4.25, 4.25, 4.25, 4.25), (2, 2, 2 + 1e-6, 8)),
        *((9, 3, 5, 9), (5.2, 4.9, 4.9, 5.3), (5.5, 4.5, 5.1, 4.1), (0, 0, 5e-39, 5e-39), (0.5, 0.5, 0.5, 8)),
        *((0, 0, 40, 30), (-5, -5, 45, 35), (0, 0, 7, 30), (33, 0, 40, 30), (-1e4, -1e4, 1e4, 1e4), (50, 50, 60, 60)),
        *((-9, 2, -3, 8), (-3e38, -3e38, 3e38, 3e38), (1e30, 0, 2e30, 9), (3, -2e30, 9, -1e30), (3, 60, 9, 70)),
    ],
)
def test_awkward_boxes(host_kernels: Kernels, mask_size: int, box: tuple[float, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    masks = torch.stack(
        [
            torch.full((mask_size, mask_size), 0.9),
            torch.full((mask_size, mask_size), 0.5),
            torch.zeros(mask_size, mask_size),
            torch.rand(mask_size, mask_size, generator=generator),
            torch.rand(mask_size, mask_size, generator=generator).round(),
        ]
    )
    assert_equals_numpy(host_kernels, masks, torch.tensor([box]).float().expand(5, 4), 30, 40)


def test_runs_that_touch_across_columns_become_one(host_kernels: Kernels) -> None:
    """Of full columns between the image's borders only the first begins and the last ends a run."""
    pasted = pasted_by(host_kernels, torch.ones(1, 4, 4), torch.tensor([[2.0, -9, 7, 39]]), 30, 10)
    assert pasted.ends[0, 0, : pasted.num_runs[0, 0]].tolist() == [2 * 30, 7 * 30, 10 * 30]
    pasted = pasted_by(host_kernels, torch.ones(1, 4, 4), torch.tensor([[-9.0, -9, 19, 39]]), 30, 10)
    assert pasted.ends[0, 0, : pasted.num_runs[0, 0]].tolist() == [0, 300]


def test_more_columns_than_a_block_has_threads(host_kernels: Kernels) -> None:
    masks, _ = random_detections(3, 20, 2000, mask_size=28)
    masks[2] = 1
    boxes = torch.tensor([[-50.0, -5, 2100, 30], [3, 2, 1027, 19], [0, -30, 2000, 60]])
    assert_equals_numpy(host_kernels, masks, boxes, 20, 2000)


@pytest.mark.parametrize("seed", [3, 4])
def test_thread_order_does_not_matter(
    host_kernels: Kernels, schedule: Callable[[int, int, int], None], seed: int
) -> None:
    schedule(seed, 4, 100)
    masks, boxes = random_detections(4, 60, 700, mask_size=28, box_share=0.5)
    boxes[0] = torch.tensor([-20.0, -20, 720, 80])
    masks[0] = torch.rand(28, 28, generator=torch.Generator().manual_seed(seed))
    assert_equals_numpy(host_kernels, masks, boxes, 60, 700)


def test_images_of_a_batch_have_their_own_size_scale_and_number_of_masks(host_kernels: Kernels) -> None:
    shapes, counts = [(60, 80), (45, 200), (33, 21)], torch.tensor([4, 0, 2])
    images = [random_detections(4, *shape, mask_size=14, seed=seed) for seed, shape in enumerate(shapes)]
    masks = torch.stack([masks for masks, _ in images])
    scales = np.array([[1.3, 1.7, 1.3, 1.7], [3, 3, 3, 3], [0.7, 0.9, 0.7, 0.9]], np.float32)
    boxes = torch.stack([boxes for _, boxes in images]) * torch.from_numpy(scales)[:, None]
    masks[1:, 3] = torch.nan
    pasted = TorchKernels(host_kernels).paste_rle(
        masks, boxes, shapes, capacity=1000, scale_factors=scales, num_detections=counts
    )
    expected = []
    for index, (shape, count) in enumerate(zip(shapes, counts.tolist(), strict=True)):
        real = boxes[index, :count].numpy() / scales[index]
        found = paste_rle(masks[index, :count].numpy(), real, *shape)
        expected += [rle["counts"] for rle in found] + [b""] * (4 - count)
    assert strings(pasted) == expected
    assert (pasted.num_runs > 0).sum(dim=1).tolist() == counts.tolist()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", ["mask", "box"])
def test_values_that_are_not_finite_are_marked(host_kernels: Kernels, value: float, place: str) -> None:
    masks, boxes = torch.ones(3, 30, 30), torch.tensor([[0.0, 0, 5, 5]]).repeat(3, 1)
    if place == "mask":
        # Where no pixel of the image looks at it.
        masks[1, 29, 29] = value
    else:
        boxes[1, 2] = value
    pasted = pasted_by(host_kernels, masks, boxes, 4, 4)
    assert pasted.num_runs[0].tolist() == [2, NOT_FINITE_RUNS, 2]
    assert pasted.num_bytes[0, 1] == 0
    with pytest.raises(ValueError, match="finite"):
        paste_rle(masks.numpy(), boxes.numpy(), 4, 4)


def test_runs_without_room_are_counted_and_not_written(host_kernels: Kernels) -> None:
    masks, boxes = torch.rand(3, 9, 9).round(), torch.tensor([[0.0, 0, 40, 40]]).repeat(3, 1)
    masks[1] = 1
    runs = [len(lengths) for lengths in paste_runs(masks.numpy(), boxes.numpy(), 40, 40)]
    kernels = TorchKernels(host_kernels)
    whole = pasted_by(host_kernels, masks, boxes, 40, 40)
    little = kernels.paste_rle(masks[None], boxes[None], [(40, 40)], capacity=7)
    assert little.num_runs[0].tolist() == runs
    assert min(runs[0], runs[2]) > 7 >= runs[1]
    assert strings(little) == [b"", strings(whole)[1], b""]


def test_strings_without_room_are_counted_and_not_written(host_library: str) -> None:
    """Of the longest values there are, too: a run of nearly 2^31 pixels behind one of a single pixel."""
    bounds = np.array([10**6, 10**6 + 1, 2**31 - 2, 2**31 - 1])
    expected = coco_mask.frPyObjects({"size": [2**31 - 1, 1], "counts": np.diff(bounds, prepend=0)}, 2**31 - 1, 1)
    ends = torch.from_numpy(bounds).int().repeat(2, 1)
    num_runs, num_bytes = torch.full((2,), 4, dtype=torch.int32), torch.zeros(2, dtype=torch.int32)
    memory, room = torch.full((100,), 7, dtype=torch.uint8), len(expected["counts"]) + 1
    addresses = [tensor.data_ptr() for tensor in (ends, num_runs, num_bytes, memory)]
    Kernels(host_library).rle_strings(*addresses, num_masks=2, capacity=4, string_capacity=room)
    assert num_bytes.tolist() == [room - 1, room - 1]
    assert bytes(memory[: room - 1].tolist()) == expected["counts"]
    assert memory[room:].tolist() == [7] * (100 - room)


def test_nothing_to_paste(host_kernels: Kernels) -> None:
    pasted = pasted_by(host_kernels, torch.zeros(0, 28, 28), torch.zeros(0, 4), 30, 40)
    assert strings(pasted) == []


@pytest.mark.parametrize("shape", [(2**16, 2**15), (2**24 + 1, 1), (1, 2**24 + 1), (0, 5)], ids=str)
def test_images_that_are_too_large_are_refused(host_kernels: Kernels, shape: tuple[int, int]) -> None:
    with pytest.raises(KernelError, match=f"height={shape[0]}, width={shape[1]}"):
        TorchKernels(host_kernels).paste_rle(torch.ones(1, 1, 4, 4), torch.ones(1, 1, 4), [shape], capacity=100)


def test_the_largest_image_is_right(host_kernels: Kernels) -> None:
    height, width = 2**16 - 1, 2**15
    boxes = torch.tensor([[width - 300.0, height - 300, width, height], [5, height - 100.5, 9, height + 10]])
    masks = random_detections(2, 10, 10, mask_size=28)[0]
    pasted = TorchKernels(host_kernels).paste_rle(masks[None], boxes[None], [(height, width)], capacity=2000)
    assert strings(pasted) == [r["counts"] for r in paste_rle(masks.numpy(), boxes.numpy(), height, width)]
    assert pasted.ends[0, 0, pasted.num_runs[0, 0] - 1] == height * width == 2**31 - 2**15


def test_a_library_without_these_kernels_names_the_command(tmp_path: Path) -> None:
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("needs gcc")
    library, source = tmp_path / "old.so", "int refinemask_roi_align, refinemask_fixed_nms, refinemask_boundary_merge;"
    subprocess.run([compiler, "-shared", "-x", "c", "-", "-o", library], input=source, text=True, check=True)
    with pytest.raises(UserError, match=r"old\.so: has no refinemask_\w+.* python -m trt_plugins\.build"):
        Kernels(library)
