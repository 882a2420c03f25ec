"""The corners of a profile, and which differences count there."""

from collections.abc import Callable
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest

import engines
from engines.trt.check import check_corners, reference
from engines.trt.corners import compare_images, corner_batches, corner_sizes, disagreement, summary
from refinemask.agreement import PARITY, Parity, verification_images
from refinemask.bundled import PHOTOS
from refinemask.contract import Bounds
from refinemask.data.transforms import NetworkInput
from refinemask.files import FailedCheckError
from refinemask.structures import Detections

LIMITS = Parity(boxes=0.5, scores=0.01, masks=0.97, share=0.9)
SIZES = [(32, 32), (64, 64), (128, 256)]


def image(*scores: float, places: int = 40, shift: float = 0) -> Detections:
    """Detections far from each other, by their scores; one whose score is negative has another class."""
    boxes = np.zeros((1, places, 4), np.float32)
    boxes[0] = np.arange(places)[:, None] * 100 + np.array([0, 0, 50, 50]) + shift
    labels, found = np.zeros((1, places), np.int64), np.zeros((1, places), np.float32)
    found[0, : len(scores)] = np.abs(scores)
    labels[0, : len(scores)] = np.less(scores, 0)
    return Detections(boxes, found, labels, np.array([len(scores)]), np.ones((1, places, 4, 4), np.float32))


def said(expected: list[Detections], found: list[Detections]) -> str | None:
    return disagreement(compare_images((len(found), 64, 64), expected, found, LIMITS, 0.05), LIMITS)


@pytest.mark.parametrize(
    ("batch", "batches"),
    [((1, 1, 8), [1, 2, 8]), ((1, 4, 4), [1, 2, 4]), ((1, 1, 1), [1]), ((1, 1, 2), [1, 2]), ((8, 8, 8), [8])],
)
def test_batches(batch: tuple[int, int, int], batches: list[int]) -> None:
    assert corner_batches(Bounds(batch=batch, height=(32, 64, 64), width=(32, 32, 32))) == batches


def test_sizes() -> None:
    bounds = Bounds(batch=(1, 1, 1), height=(32, 64, 128), width=(32, 64, 256))
    assert corner_sizes(bounds) == SIZES
    static = Bounds(batch=(1, 1, 1), height=(64, 64, 64), width=(96, 96, 96))
    assert corner_sizes(static) == [(64, 96)]


def test_equal_detections_agree() -> None:
    assert said([image(0.9, 0.8), image()], [image(0.9, 0.8), image()]) is None
    whole = summary(compare_images((1, 64, 64), [image()], [image()], LIMITS, 0.05), LIMITS)
    assert (whole.detections, whole.agreeing, whole.box, whole.score, whole.mask) == (0, 0, 0, 0, 1)


def test_a_detection_near_the_threshold_may_be_missing_and_another_may_not() -> None:
    assert said([image(0.9, 0.8, 0.7, 0.059)], [image(0.9, 0.8, 0.7)]) is None
    both = compare_images((1, 64, 64), [image(0.9, 0.059)], [image(0.9)], LIMITS, 0.05)
    assert summary(both, LIMITS).detections == 1
    missing = compare_images((1, 64, 64), [image(0.9, 0.062)], [image(0.9)], LIMITS, 0.05)
    assert summary(missing, LIMITS).detections == 2


def test_where_all_places_are_full_the_last_one_is_the_threshold() -> None:
    full, other = image(0.9, 0.5, places=2), image(0.9, -0.505, places=2)
    assert said([full], [other]) is None
    assert summary(compare_images((1, 64, 64), [full], [other], LIMITS, 0.05), LIMITS).detections == 1
    far = image(0.9, -0.6, places=2)
    # Its partner of the other class is what a full image would have lost.
    assert summary(compare_images((1, 64, 64), [full], [far], LIMITS, 0.05), LIMITS).detections == 2


def test_one_of_few_may_differ_but_not_all_of_an_image() -> None:
    assert said([image(0.9, 0.8)], [image(0.9, -0.8)]) is not None, "two have no partner"
    shifted = image(0.9, shift=1)
    assert said([image(0.9)] * 9, [*[image(0.9)] * 8, shifted]) == (
        "0 of 1 detections agree in image 8 of the batch (worst box 1 px, score 0, mask IoU 1.000)"
    )
    mixed = image(0.9, 0.8)
    mixed.boxes[0, 1] += 1
    assert said([image(0.9, 0.8)], [mixed]) is None
    assert said([image(0.9, 0.8)] * 2, [mixed, mixed]) == (
        "2 of 4 detections agree, expected 90% (worst box 1 px, score 0, mask IoU 1.000)"
    )


def test_a_share_of_many_may_differ() -> None:
    scores = [0.9 - 0.01 * index for index in range(30)]
    found = image(*scores)
    found.boxes[0, :3] += 1
    assert said([image(*scores)], [found]) is None
    found.boxes[0, 3] += 1
    assert said([image(*scores)], [found]) is not None


def test_each_image_is_computed_once_for_each_size(toy_onnx: Callable[..., Path]) -> None:
    """A batch of three at least: the images alone fill it, and the reference computes three at a time."""
    bounds = '{"batch": [3, 3, 4], "height": [32, 64, 128], "width": [32, 64, 256]}'
    engine, shapes = engines.load(toy_onnx(bounds=bounds), threads=1), []

    def run(batch: NetworkInput) -> Detections:
        shapes.append(batch.images.shape)
        return engine.infer(batch.images, batch.image_sizes)

    images = [np.random.default_rng(seed).integers(0, 256, (40, 60, 3), dtype=np.uint8) for seed in range(2)]
    done: list[float] = []
    corners = check_corners(engine, run, images, lambda phase, share: done.append(share))
    assert shapes == [(3, 3, *size) for size in SIZES]
    assert [corner.shape for corner in corners] == [(batch, *size) for size in SIZES for batch in (3, 4)]
    assert all(corner.rows is not None and corner.rows.agreeing == 3 * corner.shape[0] for corner in corners)
    assert done == sorted(done)
    assert 0 <= done[0] < done[-1] < 1


@pytest.mark.parametrize("batch", [1, 2, 4])
def test_what_a_recording_keeps_of_its_images_shows(
    toy_onnx: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    """From the third run of a shape on it computes the images of the second again."""
    path = toy_onnx()
    engine, seen = engines.load(path, threads=1), []
    upload = engine.upload

    def stale(images: np.ndarray, image_sizes: np.ndarray) -> object:
        if len(images) != batch:
            return upload(images, image_sizes)
        seen.append((images, image_sizes))
        return upload(*seen[:2][-1])

    monkeypatch.setattr(engine, "upload", stale)
    pictures = [np.random.default_rng(seed).integers(0, 256, (40 + 9 * seed, 60, 3), dtype=np.uint8) for seed in (0, 1)]
    with pytest.raises(FailedCheckError, match=f"at batch {batch}, height 32, width 32: beside ONNX Runtime"):
        check_corners(engine, reference(path), pictures, lambda *_: None)


def test_a_row_of_a_quantised_engine_is_as_near_to_itself_as_in_half_precision(
    toy_onnx: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its limits beside ONNX Runtime are for other scales of the values."""
    path = toy_onnx(precision="int8")
    engine = engines.load(path, threads=1)
    download = engine.download

    def shifted(outputs: object) -> Detections:
        found = download(outputs)
        return found._replace(boxes=found.boxes + (np.arange(len(found.boxes)) == 1)[:, None, None].astype(np.float32))

    monkeypatch.setattr(engine, "download", shifted)
    pictures = [np.full((40, 60, 3), value, np.uint8) for value in (80, 160)]
    with pytest.raises(FailedCheckError, match="at batch 2, height 32, width 32: beside each image alone"):
        check_corners(engine, reference(path), pictures, lambda *_: None)


def test_a_real_file_agrees_with_itself(tiny_files: tuple[Path, Path]) -> None:
    engine = engines.load(tiny_files[1], threads=1)
    corners = check_corners(engine, reference(tiny_files[1]), verification_images(PHOTOS), lambda *_: None)
    assert sum(corner.found for corner in corners) > 100
    for corner in corners:
        assert corner.onnxruntime is not None
        assert corner.onnxruntime.agreeing >= 0.98 * corner.onnxruntime.detections
    assert PARITY["fp32"].share == 0.98


def test_a_bf16_file_is_compared_in_float32(toy_onnx: Callable[..., Path]) -> None:
    """ONNX Runtime's CPU provider has no bfloat16 convolution."""
    path = toy_onnx(precision="bf16")
    model = onnx.load(path)
    (kernel,) = (tensor for tensor in model.graph.initializer if tensor.name == "kernel")
    rounded = onnx.numpy_helper.to_array(kernel).astype(ml_dtypes.bfloat16)
    kernel.CopyFrom(onnx.numpy_helper.from_array(rounded, "kernel"))
    for node in model.graph.node:
        if node.name == "" and list(node.output) == ["pixels"]:
            node.attribute[0].i = onnx.TensorProto.BFLOAT16
    onnx.save(model, path)
    run = reference(path)
    assert run is not None
    images = np.random.default_rng(0).integers(0, 256, (1, 3, 64, 64), dtype=np.uint8)
    batch = NetworkInput(images, np.array([[64, 64]]), np.ones((1, 4), np.float32))
    found = run(batch)
    exact = engines.load(toy_onnx(), threads=1).infer(batch.images, batch.image_sizes)
    assert 0 < np.abs(found.scores - exact.scores).max() < PARITY["bf16"].scores
