"""Slots: batches of several sizes and threads, on the CPU and on a GPU that is host memory.

The programs are the parts of the tiny detector that are not compiled.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Barrier, Lock, Thread
from typing import Any

import numpy as np
import pytest
import torch

import engines
from engines import base, on_device
from engines.compiled.engine import CompiledEngine
from engines.compiled.program import Program
from engines.compiled.recording import Recording
from refinemask.modeling.exported import ExportedDetector
from refinemask.structures import Detections, ImageDetections
from tests.support import fake_cuda
from tests.support.compiled_packages import LANDSCAPE, PORTRAIT, made_up_package
from tests.support.detections import assert_near_detections
from tests.support.eager_program import eager_program
from tests.support.fake_cuda import FakeGraph
from tests.support.threads import assert_threads_find_what_one_finds, detect
from tests.support.tiny_detector import make_tiny_detector
from trt_plugins.c_api import Kernels
from trt_plugins.torch_kernels import TorchKernels

DEVICES = ["cpu", "cuda"]
Batch = tuple[np.ndarray, np.ndarray]
Load = Callable[..., engines.Engine]


@pytest.fixture(scope="module")
def exported() -> ExportedDetector:
    return ExportedDetector(make_tiny_detector())


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch, host_kernels: Kernels) -> None:
    fake_cuda.install_torch(monkeypatch)
    monkeypatch.setattr("trt_plugins.torch_ops.enable_if_available", lambda: True)
    monkeypatch.setattr(on_device, "device_kernels", lambda: TorchKernels(host_kernels))
    launch, turn = Kernels._launch, Lock()

    def one_at_a_time(*arguments: Any) -> None:
        # What computes the kernels on the host has one scheduler.
        with turn:
            launch(*arguments)

    monkeypatch.setattr(Kernels, "_launch", one_at_a_time)


@pytest.fixture
def program(exported: ExportedDetector) -> Program:
    return eager_program(exported.detector)


@pytest.fixture
def load(tmp_path: Path, program: Program, gpu: None, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Opens a "package" of two images in landscape and portrait; by keyword, what its sidecar says and how to load."""

    def opened(device: str, *, precision: str = "fp32", program: Program = program, **options: Any) -> engines.Engine:
        sidecar = made_up_package(path := tmp_path / "tiny.pt2", device, precision)
        programs = dict.fromkeys(sidecar.sizes, program)
        monkeypatch.setattr("engines.compiled.engine.load_programs", lambda path, sizes: programs)
        return engines.load(path, device=device, **options)

    return opened


def batch_of(size: tuple[int, int], seed: int = 0, count: int = 2) -> Batch:
    images = np.random.default_rng(seed).integers(0, 256, (count, 3, *size), dtype=np.uint8)
    return images, np.array([size, (50, 60)][:count])


@pytest.fixture
def expected(exported: ExportedDetector) -> Callable[[Batch], Detections]:
    """The detections of the exported detector; batches that are not full are filled with their last image."""

    def detections(batch: Batch) -> Detections:
        index = np.minimum(np.arange(2), len(batch[0]) - 1)
        with torch.no_grad():
            found = Detections(*exported(*(torch.from_numpy(array[index]) for array in batch)))
        assert found.num_detections.min() > 0
        return Detections(*(field[: len(batch[0])].numpy() for field in found))

    return detections


def at_once(engine: engines.Engine, *batches: Batch) -> list[Detections]:
    """The detections of batches, a thread to each; none may wait for ever."""
    found: dict[int, Detections] = {}

    def infer(index: int) -> None:
        found[index] = engine.infer(*batches[index])

    threads = [Thread(target=infer, args=(index,), daemon=True) for index in range(len(batches))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert len(found) == len(batches), "threads failed, or wait for one another or for a slot that nobody gives back"
    return [found[index] for index in range(len(batches))]


@pytest.mark.parametrize("device", DEVICES)
def test_batches_of_both_sizes_in_turn(load: Load, expected: Callable[[Batch], Detections], device: str) -> None:
    engine = load(device)
    assert isinstance(engine, CompiledEngine)
    for seed, size in enumerate((LANDSCAPE, PORTRAIT, PORTRAIT, LANDSCAPE)):
        batch = batch_of(size, seed)
        assert_near_detections(engine.infer(*batch), expected(batch))


@pytest.mark.parametrize("device", DEVICES)
def test_a_batch_that_is_not_full(load: Load, expected: Callable[[Batch], Detections], device: str) -> None:
    engine = load(device)
    for batch in (batch_of(LANDSCAPE, count=1), batch_of(LANDSCAPE, 1), batch_of(LANDSCAPE, 2, count=1)):
        found = engine.infer(*batch)
        assert len(found.boxes) == len(batch[0])
        assert_near_detections(found, expected(batch))


@pytest.mark.parametrize("device", DEVICES)
def test_pictures_get_the_canvas_of_their_orientation(load: Load, exported: ExportedDetector, device: str) -> None:
    """And a batch of both the one for which it is shrunk least."""
    engine = load(device)
    noise = np.random.default_rng(0)
    images = [noise.integers(0, 256, (*shape, 3), dtype=np.uint8) for shape in ((120, 180), (180, 120))]
    # The long side is 128, and the canvases' 96.
    assert [engine.canvas([image.shape[:2]]) for image in images] == [LANDSCAPE, PORTRAIT]
    assert engine.canvas([image.shape[:2] for image in images]) == LANDSCAPE
    alone = [prediction for image in images for prediction in engine.predict([image])]
    together = list(engine.predict(images, batch_size=2))
    for found in (alone, together):
        assert [(each.height, each.width) for each in found] == [(120, 180), (180, 120)]
        assert all(map(len, found))
        assert all(each.masks().any(axis=(1, 2)).all() for each in found)


def test_masks_are_pasted_on_the_gpu(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    images = [np.random.default_rng(seed).integers(0, 256, (60, 90, 3), dtype=np.uint8) for seed in range(2)]
    expected = [found.to_coco() for found in load("cpu").predict(images, batch_size=2)]
    assert all(expected)
    engine = load("cuda")
    monkeypatch.setattr(on_device, "download", lambda detections: pytest.fail("the masks were copied"))
    found = [found.to_coco() for found in engine.predict(images, batch_size=2)]
    assert [[each["segmentation"] for each in image] for image in found] == [
        [each["segmentation"] for each in image] for image in expected
    ]


def test_each_size_and_slot_has_its_recordings(load: Load) -> None:
    engine = load("cuda")
    for size in (LANDSCAPE, LANDSCAPE):
        engine.infer(*batch_of(size))
    one = FakeGraph.made
    assert one == 2, "boxes, and masks for one number of places"
    engine.infer(*batch_of(PORTRAIT))
    assert FakeGraph.made == 2 * one
    engine.infer(*batch_of(LANDSCAPE))
    assert FakeGraph.made == 2 * one


def test_without_cuda_graphs_nothing_is_recorded(load: Load, expected: Callable[[Batch], Detections]) -> None:
    engine = load("cuda", cuda_graph=False)
    batch = batch_of(LANDSCAPE)
    assert_near_detections(engine.infer(*batch), expected(batch))
    assert FakeGraph.made == 0


@pytest.mark.parametrize("device", DEVICES)
def test_more_threads_than_slots_get_their_own_results(
    load: Load, expected: Callable[[Batch], Detections], device: str
) -> None:
    """And slots may begin to record while others do."""
    engine = load(device, **({"slots": 2} if device == "cuda" else {}))
    batches = [batch_of(size, seed) for seed in range(2) for size in (LANDSCAPE, PORTRAIT)]
    for ours, batch in zip(at_once(engine, *batches, *batches), batches * 2, strict=True):
        assert_near_detections(ours, expected(batch))


@pytest.mark.parametrize(("device", "slots"), [("cpu", 1), ("cuda", 2)])
def test_eight_threads_find_what_one_finds(load: Load, device: str, slots: int) -> None:
    engine = load(device)
    assert engine.concurrency == slots
    assert engine.preferred_batch == 2
    assert_threads_find_what_one_finds(engine, [batch_of(LANDSCAPE), batch_of(PORTRAIT, count=1)])


def test_a_batch_computes_on_the_cpu_while_masks_of_another_are_pasted(
    load: Load, expected: Callable[[Batch], Detections], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, paste, met = load("cpu"), base.encode, []

    def paste_slowly(*arguments: Any) -> list[ImageDetections]:
        met.extend(at_once(engine, batch_of(PORTRAIT)))
        return paste(*arguments)

    monkeypatch.setattr(base, "encode", paste_slowly)
    detect(engine, batch_of(LANDSCAPE))
    assert_near_detections(met[0], expected(batch_of(PORTRAIT)))


def test_two_slots_run_at_the_same_time(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also while settings of another precision are open for one of them."""
    engine = load("cuda", slots=2, precision="tf32")
    batch = batch_of(LANDSCAPE)
    slots = [engine.upload(*batch) for _ in range(2)]
    for slot in slots:
        engine.download(engine.run(slot))
    both, run = Barrier(2, timeout=30), Recording.run

    def meet(recording: Recording) -> Detections:
        replay = recording.detect

        def together() -> None:
            both.wait()
            replay()
            both.wait()

        recording.detect = together
        try:
            return run(recording)
        finally:
            recording.detect = replay

    monkeypatch.setattr(Recording, "run", meet)
    first, second = at_once(engine, batch, batch)
    for ours, theirs in zip(first, second, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("part", ["features", "masks"])
def test_an_error_gives_the_slot_back(
    load: Load, program: Program, expected: Callable[[Batch], Detections], device: str, part: str
) -> None:
    fails = [True]
    whole = getattr(program, part)

    def failing(*arguments: Any) -> Any:
        if fails:
            fails.pop()
            raise RuntimeError("out of memory")
        return whole(*arguments)

    engine = load(device, program=replace(program, **{part: failing}))
    batch = batch_of(LANDSCAPE)
    with pytest.raises(RuntimeError, match="out of memory"):
        engine.infer(*batch)
    (found,) = at_once(engine, batch)
    assert_near_detections(found, expected(batch))
