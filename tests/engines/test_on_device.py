"""What leaves a GPU: run lengths instead of masks, or no more than the places that hold a detection.

The "GPU" is host memory, and the kernels are compiled for the CPU.
"""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import engines
from benchmarks.harness.random_detections import random_detections
from engines import on_device
from engines.torch_engine import TorchEngine
from refinemask import prediction
from refinemask.masks import paste_rle, paste_runs
from refinemask.structures import Detections, ImageDetections
from refinemask.weights import save_detector
from tests.support.tiny_detector import make_tiny_detector
from trt_plugins.c_api import Kernels
from trt_plugins.torch_kernels import TorchKernels

SHAPES = [(60, 80), (45, 200), (33, 21)]
SCALES = np.array([[1.3, 1.7, 1.3, 1.7], [3, 3, 3, 3], [0.7, 0.9, 0.7, 0.9]], np.float32)


@pytest.fixture
def kernels(host_kernels: Kernels, monkeypatch: pytest.MonkeyPatch) -> TorchKernels:
    """The kernels of the "GPU"."""
    kernels = TorchKernels(host_kernels)
    monkeypatch.setattr(on_device, "device_kernels", lambda: kernels)
    return kernels


@pytest.fixture
def not_built(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Kernels that have not been built."""
    monkeypatch.setattr("trt_plugins.LIBRARY_DIR", tmp_path)
    on_device.device_kernels.cache_clear()
    yield
    on_device.device_kernels.cache_clear()


@pytest.fixture
def detections() -> Detections:
    """Five places for each of three images, of which 4, 0 and 2 hold a detection; NaN in the masks of the others."""
    images = [random_detections(5, *shape, mask_size=14, seed=seed) for seed, shape in enumerate(SHAPES)]
    counts = torch.tensor([4, 0, 2])
    padding = torch.arange(5) >= counts[:, None]
    masks = torch.stack([masks for masks, _ in images])
    masks[padding] = torch.nan
    boxes = torch.stack([boxes for _, boxes in images]) * torch.from_numpy(SCALES)[:, None]
    scores = torch.rand(3, 5).sort(descending=True).values
    labels = torch.arange(15).reshape(3, 5)
    boxes[padding], scores[padding], labels[padding] = 0, 0, 0
    return Detections(boxes, scores, labels, counts, masks)


def assert_same(found: list[ImageDetections], expected: list[ImageDetections]) -> None:
    assert [len(each.scores) for each in found] == [4, 0, 2]
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.rles == theirs.rles
        for name in ("boxes", "scores", "labels"):
            a, b = getattr(ours, name), getattr(theirs, name)
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b, err_msg=name)


def test_encodings_are_those_of_the_host(kernels: TorchKernels, detections: Detections) -> None:
    expected = prediction.encode(detections.numpy(), SCALES, SHAPES)
    assert_same(on_device.encode(detections, SCALES, SHAPES), expected)


def test_more_bytes_than_expected_are_fetched(
    kernels: TorchKernels, detections: Detections, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = prediction.encode(detections.numpy(), SCALES, SHAPES)
    for size in (0, 1, 40):
        monkeypatch.setattr(on_device, "EXPECTED_STRING_BYTES", size)
        assert_same(on_device.encode(detections, SCALES, SHAPES), expected)


@pytest.fixture
def capacities(kernels: TorchKernels, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The rooms for runs that pastes had, in order; the first has one run per column."""
    used: list[int] = []
    paste = TorchKernels.paste_rle

    def recording(*arguments: Any, capacity: int, **options: Any) -> Any:
        used.append(capacity)
        return paste(*arguments, capacity=capacity, **options)

    monkeypatch.setattr(TorchKernels, "paste_rle", recording)
    monkeypatch.setattr(on_device, "RUNS_PER_COLUMN", 1)
    return used


def test_more_runs_than_there_is_room_for_are_pasted_again(kernels: TorchKernels, capacities: list[int]) -> None:
    generator = torch.Generator().manual_seed(0)
    masks, boxes = torch.rand(3, 9, 9, generator=generator).round(), torch.tensor([[0.0, 0, 40, 40]]).repeat(3, 1)
    expected = paste_rle(masks.numpy(), boxes.numpy(), 40, 40)
    assert on_device.paste_rle(kernels, masks, boxes, 40, 40) == expected
    assert capacities == [40, max(map(len, paste_runs(masks.numpy(), boxes.numpy(), 40, 40)))]
    assert capacities[1] > 40


def test_longer_strings_than_there_is_room_for_are_written_again(kernels: TorchKernels, capacities: list[int]) -> None:
    """Each mask is one run, and its length takes five bytes."""
    masks, boxes = torch.zeros(3, 9, 9), torch.tensor([[0.0, 0, 9, 9]]).repeat(3, 1)
    found = on_device.paste_rle(kernels, masks, boxes, 2**24, 1)
    assert found == paste_rle(masks.numpy(), boxes.numpy(), 2**24, 1)
    assert len(found[0]["counts"]) > 2
    assert len(capacities) == 2


def test_no_masks(kernels: TorchKernels) -> None:
    assert on_device.paste_rle(kernels, torch.zeros(0, 28, 28), torch.zeros(0, 4), 30, 40) == []


def test_a_real_mask_that_is_not_finite_is_refused(kernels: TorchKernels, detections: Detections) -> None:
    detections.masks[2, 1, 3, 3] = torch.inf
    with pytest.raises(ValueError, match="masks and boxes must be finite"):
        on_device.encode(detections, SCALES, SHAPES)


def test_only_places_that_hold_a_detection_are_copied(detections: Detections) -> None:
    found = on_device.download(detections)
    for name, ours, theirs in zip(Detections._fields, found, detections, strict=True):
        assert ours.shape == tuple(theirs.shape), name
        assert isinstance(ours, np.ndarray)
        assert ours.dtype == theirs.numpy().dtype, name
        if ours.ndim > 1:
            np.testing.assert_array_equal(ours[:, :4], theirs[:, :4], err_msg=name)
            assert not ours[:, 4].any(), name
    np.testing.assert_array_equal(found.num_detections, [4, 0, 2])


def test_what_is_downloaded_is_a_copy(detections: Detections) -> None:
    full = detections._replace(num_detections=torch.tensor([5, 5, 5]))
    found = on_device.download(full)
    full.labels.zero_()
    assert found.labels[0].tolist() == [0, 1, 2, 3, 0]


@pytest.mark.usefixtures("not_built")
def test_without_kernels_the_host_pastes_and_one_warning_says_so(detections: Detections) -> None:
    expected = prediction.encode(detections.numpy(), SCALES, SHAPES)
    with pytest.warns(UserWarning, match=r"pasted on the host.*build it with: python -m trt_plugins\.build") as caught:
        assert_same(on_device.encode(detections, SCALES, SHAPES), expected)
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_same(on_device.encode(detections, SCALES, SHAPES), expected)


def test_pytorch_on_a_gpu_predicts_without_its_masks_on_the_host(
    kernels: TorchKernels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_detector(make_tiny_detector(), tmp_path / "tiny.safetensors", recipe="tiny")
    images = [np.random.default_rng(n).integers(0, 256, (60 + n, 90, 3), dtype=np.uint8) for n in range(2)]
    engine = engines.load(tmp_path / "tiny.safetensors", threads=1)
    expected = [found.to_coco() for found in engine.predict(images, batch_size=2)]
    assert all(expected)
    engine.device = "cuda"
    monkeypatch.setattr(TorchEngine, "upload", lambda self, *arrays: tuple(map(torch.from_numpy, arrays)))
    monkeypatch.setattr(TorchEngine, "_synchronize", lambda self: None)
    monkeypatch.setattr(TorchEngine, "download", lambda self, outputs: pytest.fail("the masks were copied"))
    monkeypatch.setattr(on_device, "download", lambda detections: pytest.fail("the masks were copied"))
    assert [found.to_coco() for found in engine.predict(images, batch_size=2)] == expected
