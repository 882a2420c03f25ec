"""A program's work in CUDA graphs, on a GPU that is host memory (tests/support/fake_cuda.py).

What is recorded is not computed then, so results can only come from replays.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from threading import Event, Thread
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from engines.compiled import recording
from engines.compiled.program import Program
from engines.compiled.recording import WARM_UPS, Recording
from refinemask.modeling.box_head import DetectedBoxes
from refinemask.modeling.exported import ExportedDetector
from refinemask.structures import Detections
from tests.support import fake_cuda
from tests.support.detections import assert_near_detections
from tests.support.eager_program import eager_program
from tests.support.fake_cuda import FakeGraph, FakeStream
from tests.support.tiny_families import MASK_HEADS, make_tiny_family
from tests.support.traced_parts import SIZE, make_batch

PLACES = 100


@pytest.fixture(autouse=True)
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_cuda.install_torch(monkeypatch)


@pytest.fixture
def stream() -> Any:
    return FakeStream(priority=-1)


class Counting:
    """A program that "detects" as many objects as an image's first pixel says, and notes what is asked of it.

    The label of a place is its index plus the number, its box the number's, its mask's two pixels are both together.
    """

    def __init__(self) -> None:
        self.streams: list[tuple[str, FakeStream]] = []
        """The parts in the order in which they were called, and the streams that they ran on."""
        self.places: list[int] = []
        """The numbers of places that masks were asked for."""

    def program(self) -> Program:
        return Program(self._features, self._boxes, self._image_maps, self._masks)

    def _note(self, part: str) -> None:
        self.streams.append((part, fake_cuda.current_stream()))

    def _features(self, images: Tensor, image_sizes: Tensor) -> list[Tensor]:
        self._note("features")
        return [images[:, :1, :1, :1].long()]

    def _boxes(self, features: list[Tensor], image_sizes: Tensor) -> DetectedBoxes:
        self._note("boxes")
        counts = features[0].flatten()
        labels = torch.arange(PLACES) + counts[:, None]
        return DetectedBoxes(
            counts[:, None, None].float().repeat(1, PLACES, 4), labels.float() / 1000, labels, counts.clone()
        )

    def _image_maps(self, features: list[Tensor]) -> list[Tensor]:
        self._note("image_maps")
        return [features[0].float() + 0.5]

    def _masks(self, features: list[Tensor], image_maps: list[Tensor], boxes: Tensor, labels: Tensor) -> Tensor:
        self._note("masks")
        self.places.append(labels.shape[1])
        assert boxes.is_contiguous()
        assert labels.is_contiguous()
        # An index that no recording may have made up.
        weights = torch.arange(2.0 * 256)[labels]
        return torch.stack([weights, image_maps[0][:, 0, 0] + boxes[..., 0]], dim=2)[..., None, :]


def images_of(*counts: int) -> tuple[np.ndarray, np.ndarray]:
    """Images with so many objects, as :class:`Counting` understands them."""
    images = np.zeros((len(counts), 3, *SIZE), np.uint8)
    images[:, 0, 0, 0] = counts
    return images, np.array([SIZE] * len(counts))


def found(recorded: Recording) -> Detections:
    """The detections of what was uploaded last; copies, because the next run overwrites them."""
    return Detections(*(x.clone() for x in recorded.run()))


def assert_counted(detections: Detections, *counts: int) -> None:
    """These are the detections of :func:`images_of`, in the places that hold one."""
    assert detections.num_detections.tolist() == list(counts)
    assert detections.masks.shape == (len(counts), PLACES, 1, 2)
    for index, count in enumerate(counts):
        labels = torch.arange(PLACES) + count
        assert torch.equal(detections.labels[index], labels)
        assert (detections.boxes[index] == count).all()
        assert torch.equal(detections.masks[index, :count, 0, 0], labels[:count].float())
        assert (detections.masks[index, :count, 0, 1] == 2 * count + 0.5).all()


@pytest.mark.parametrize(("family", "record"), [*((family, True) for family in MASK_HEADS), ("RefineMask", False)])
def test_every_upload_gets_its_own_detections(family: str, record: bool, stream: Any) -> None:
    exported = ExportedDetector(make_tiny_family(family))
    recorded = Recording(eager_program(exported.detector), 2, SIZE, stream, "fp32", record=record)
    for seed in (1, 2, 1):
        images, image_sizes = make_batch(seed)
        recorded.upload(images.numpy(), image_sizes.numpy())
        with torch.no_grad():
            expected = Detections(*exported(images, image_sizes))
        assert expected.num_detections.min() > 0
        detections = found(recorded)
        # Padding has masks of anything, but nothing that was never computed.
        detections.masks[torch.arange(12) >= detections.num_detections[:, None]].nan_to_num_()
        assert_near_detections(detections, expected)


def test_a_batch_that_is_not_full_keeps_the_images_of_the_missing_ones(stream: Any) -> None:
    recorded = Recording(Counting().program(), 3, SIZE, stream, "fp32", record=True)
    recorded.upload(*images_of(5, 9, 30))
    assert_counted(found(recorded), 5, 9, 30)
    recorded.upload(*images_of(7))
    assert_counted(found(recorded), 7, 9, 30)
    recorded.upload(*images_of(0, 1))
    assert_counted(found(recorded), 0, 1, 30)


def test_a_batch_that_is_not_full_is_filled_with_black_images_at_first(stream: Any) -> None:
    recorded = Recording(Counting().program(), 3, SIZE, stream, "fp32", record=True)
    assert recorded.image_sizes.tolist() == [list(SIZE)] * 3
    recorded.upload(*images_of(6))
    assert_counted(found(recorded), 6, 0, 0)


@pytest.mark.parametrize("record", [True, False])
@pytest.mark.parametrize(
    ("counts", "places"),
    [((1, 0), 8), ((8, 8), 8), ((3, 9), 16), ((17, 2), 32), ((33, 64), 64), ((65, 0), 100), ((100, 100), 100)],
)
def test_masks_are_computed_for_as_many_places_as_the_fullest_image_needs(
    counts: tuple[int, int], places: int, record: bool, stream: Any
) -> None:
    counting = Counting()
    recorded = Recording(counting.program(), 2, SIZE, stream, "fp32", record=record)
    assert counting.places == [2], "their resolution has to be found out"
    recorded.upload(*images_of(*counts))
    assert_counted(found(recorded), *counts)
    assert set(counting.places[1:]) == {places}


def test_without_a_detection_no_masks_are_computed(stream: Any) -> None:
    counting = Counting()
    recorded = Recording(counting.program(), 2, SIZE, stream, "fp32", record=True)
    made = FakeGraph.made
    counting.places.clear()
    recorded.upload(*images_of(0, 0))
    assert_counted(found(recorded), 0, 0)
    assert counting.places == []
    assert FakeGraph.made == made


def test_each_number_of_places_is_recorded_once(stream: Any) -> None:
    counting = Counting()
    recorded = Recording(counting.program(), 1, SIZE, stream, "fp32", record=True)
    assert FakeGraph.made == 1
    for count in (3, 40, 5, 50, 8, 64, 0, 3):
        recorded.upload(*images_of(count))
        assert_counted(found(recorded), count)
    assert FakeGraph.made == 1 + 2
    assert counting.places == [2] + [8] * (WARM_UPS + 1) + [64] * (WARM_UPS + 1)


def test_graphs_of_one_recording_share_their_memory_and_those_of_others_do_not(
    stream: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    graphs: list[FakeGraph] = []

    class Kept(FakeGraph):
        def __init__(self) -> None:
            super().__init__()
            graphs.append(self)

    monkeypatch.setattr(torch.cuda, "CUDAGraph", Kept)
    for _ in range(2):
        recorded = Recording(Counting().program(), 1, SIZE, stream, "fp32", record=True)
        recorded.upload(*images_of(3))
        recorded.run()
    first, second, other, another = (graph.pool for graph in graphs)
    assert first is second is not None
    assert other is another is not None
    assert first is not other


def test_without_recording_no_graph_is_made(stream: Any) -> None:
    recorded = Recording(Counting().program(), 2, SIZE, stream, "fp32", record=False)
    recorded.upload(*images_of(5, 9))
    assert_counted(found(recorded), 5, 9)
    assert FakeGraph.made == 0


def test_image_maps_run_beside_the_boxes_and_are_waited_for(stream: Any) -> None:
    counting = Counting()
    recorded = Recording(counting.program(), 1, SIZE, stream, "fp32", record=True)
    own = [run for part, run in counting.streams if part != "image_maps"]
    beside = [run for part, run in counting.streams if part == "image_maps"]
    assert set(own) == {stream}
    assert len(beside) == WARM_UPS + 1
    assert len(set(beside)) == 1
    assert beside[0] is not stream
    assert stream.priority < beside[0].priority, "the boxes are the longer way"
    # Once each time: the features before, the maps after.
    assert beside[0].waited_for == [stream] * len(beside)
    assert stream.waited_for == [beside[0]] * len(beside)
    order = [part for part, _ in counting.streams]
    assert order[:3] == ["features", "image_maps", "boxes"]
    recorded.upload(*images_of(4))
    assert_counted(found(recorded), 4)


class Once:
    """Calls a function, and raises an error the n-th time."""

    def __init__(self, function: Callable[..., Any], time: int) -> None:
        self.function, self.time = function, time

    def __call__(self, *arguments: Any) -> Any:
        self.time -= 1
        if self.time == 0:
            raise RuntimeError("out of memory")
        return self.function(*arguments)


@pytest.fixture
def nothing_open() -> Iterator[None]:
    """Afterwards no recording is open, and PyTorch's settings are what they were."""
    benchmark = torch.backends.cudnn.benchmark
    yield
    assert not [each for each in list(fake_cuda._streams.values()) if each.recording is not None]
    assert torch.backends.cudnn.benchmark == benchmark
    assert torch.is_grad_enabled()


@pytest.mark.usefixtures("nothing_open")
@pytest.mark.parametrize("part", ["features", "image_maps", "boxes"])
@pytest.mark.parametrize("time", [1, WARM_UPS + 1])
def test_an_error_while_boxes_are_recorded_leaves_no_recording_open(part: str, time: int, stream: Any) -> None:
    program = Counting().program()
    broken = replace(program, **{part: Once(getattr(program, part), time)})
    with pytest.raises(RuntimeError, match="out of memory"):
        Recording(broken, 1, SIZE, stream, "fp32", record=True)
    again = Recording(broken, 1, SIZE, stream, "fp32", record=True)
    again.upload(*images_of(5))
    assert_counted(found(again), 5)


@pytest.mark.usefixtures("nothing_open")
@pytest.mark.parametrize("time", [1, WARM_UPS + 1])
def test_an_error_while_masks_are_recorded_leaves_no_recording_open(time: int, stream: Any) -> None:
    program = Counting().program()
    # The first time is that of the resolution.
    broken = replace(program, masks=Once(program.masks, 1 + time))
    recorded = Recording(broken, 1, SIZE, stream, "fp32", record=True)
    recorded.upload(*images_of(5))
    with pytest.raises(RuntimeError, match="out of memory"):
        recorded.run()
    assert_counted(found(recorded), 5)


@pytest.mark.usefixtures("nothing_open")
@pytest.mark.parametrize(("precision", "product"), [("tf32", "tf32"), ("fp32", "ieee"), ("fp16", "ieee")])
def test_everything_is_launched_in_the_arithmetic_of_the_precision(precision: str, product: str, stream: Any) -> None:
    seen: list[tuple[str, str, bool, bool]] = []
    program = Counting().program()

    def noting(part: str) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            backends: Any = torch.backends
            settings = backends.cudnn.conv.fp32_precision, backends.cuda.matmul.fp32_precision
            seen.append((*settings, backends.cudnn.benchmark, torch.is_grad_enabled()))
            return getattr(program, part)(*arguments)

        return call

    noted = Program(**{part: noting(part) for part in vars(program)})
    recorded = Recording(noted, 1, SIZE, stream, precision, record=True)
    recorded.upload(*images_of(5))
    recorded.run()
    assert len(seen) == 3 * (WARM_UPS + 1) + 1 + (WARM_UPS + 1)
    assert set(seen) == {(product, product, True, False)}


@pytest.mark.usefixtures("nothing_open")
def test_other_threads_launch_nothing_while_a_recording_is_made(stream: Any) -> None:
    """What they launch may empty PyTorch's cache of memory, which fails while anything is recorded."""
    launched, early = Event(), []
    program = Counting().program()

    def launch() -> None:
        with recording.arithmetic("tf32"):
            launched.set()

    def boxes(*arguments: Any) -> Any:
        if stream.recording is not None:
            Thread(target=launch, daemon=True).start()
            early.append(launched.wait(timeout=0.5))
        return program.boxes(*arguments)

    Recording(replace(program, boxes=boxes), 1, SIZE, stream, "fp32", record=True)
    assert early == [False]
    assert launched.wait(timeout=30), "the settings are held for ever"
