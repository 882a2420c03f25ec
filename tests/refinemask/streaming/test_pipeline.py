"""Images on their way through threads: order, failures, endings, memory."""

import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refinemask.contract import InputError
from refinemask.files import UserError
from refinemask.prediction import Prediction, predict
from refinemask.streaming.plan import StreamOptions
from refinemask.streaming.stream import stream
from refinemask.tiling import Tiling
from tests.support.bright_box import BrightBox
from tests.support.coloured_objects import ColouredObjects
from tests.support.stream_items import MadeItem


def own_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("refinemask")]


class Slow(BrightBox):
    """Takes a random time for each batch, and computes some at once."""

    concurrency = 3

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self._random = random.Random(seed)

    def detect(self, *args: Any, **phases: Any) -> list[Any]:
        time.sleep(self._random.random() * 0.003)
        return super().detect(*args, **phases)


def serial(items: list[MadeItem]) -> list[Any]:
    """What one image at a time gives; an error's text where it fails."""
    found: list[Any] = []
    for item in items:
        try:
            [prediction] = predict(BrightBox(), [item.read(None)])
            found.append(prediction.to_coco())
        except UserError as error:
            found.append(str(error))
    return found


made_items = st.builds(
    MadeItem,
    brightness=st.integers(0, 255),
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    delay=st.sampled_from([0.0, 0.0, 0.001, 0.004]),
    bad=st.booleans(),
)


@settings(max_examples=60, deadline=None)
@given(
    items=st.lists(made_items, max_size=25),
    batch_size=st.integers(1, 5),
    workers=st.integers(1, 4),
    seed=st.integers(0, 1000),
)
def test_results_are_those_of_one_image_at_a_time(
    items: list[MadeItem], batch_size: int, workers: int, seed: int
) -> None:
    def render(item: Any, prediction: Prediction, pixels: np.ndarray) -> int:
        time.sleep(seed % 3 / 1000)
        return int(pixels[0, 0, 0])

    results = list(
        stream(Slow(seed), items, StreamOptions(batch_size=batch_size, workers=workers), render=render).results()
    )
    assert [result.item for result in results] == items
    found = [result.prediction.to_coco() if result.prediction is not None else str(result.error) for result in results]
    assert found == serial(items)
    assert [result.rendered for result in results] == [None if item.bad else item.brightness for item in items]
    assert [result.was_read for result in results] == [not item.bad for item in items]
    assert not own_threads()


def test_only_images_of_one_padded_size_go_together() -> None:
    predictor = BrightBox()
    items = [MadeItem(1, *size) for size in [(20, 30), (64, 64), (20, 31), (19, 30), (60, 60), (20, 30)]]
    list(stream(predictor, items, StreamOptions(batch_size=2, workers=1)).results())
    assert sorted(predictor.seen) == sorted([(2, 3, 32, 64), (2, 3, 32, 32), (2, 3, 32, 64)])


def test_images_of_any_size_are_padded_as_the_predictor_asks() -> None:
    predictor = BrightBox(canvas=(96, 128))
    items = [MadeItem(1, *size) for size in [(20, 30), (64, 64), (64, 20)]]
    list(stream(predictor, items, StreamOptions(batch_size=2)).results())
    assert sorted(predictor.seen) == [(1, 3, 96, 128), (2, 3, 96, 128)]


def test_the_same_images_make_the_same_batches_each_time() -> None:
    def batches(seed: int) -> list[tuple[int, ...]]:
        predictor, chance = Slow(seed), random.Random(seed)
        sizes = [(20, 30), (64, 64), (64, 20)]
        items = [MadeItem(1, *sizes[number * 7 % 3], delay=chance.random() * 0.002) for number in range(40)]
        list(stream(predictor, items, StreamOptions(batch_size=4, workers=3)).results())
        return sorted(predictor.seen)

    assert batches(1) == batches(2) == batches(3)


def test_an_image_with_rare_size_does_not_wait_for_the_end() -> None:
    items = [MadeItem(1, 64, 64), *(MadeItem(number) for number in range(2, 200))]
    taken = []

    def source() -> Iterator[MadeItem]:
        for item in items:
            taken.append(item)
            yield item

    results = stream(BrightBox(), source(), StreamOptions(batch_size=8, workers=2)).results()
    assert next(results).item is items[0]
    assert len(taken) < 100
    assert [result.item for result in results] == items[1:]


def test_while_the_source_gives_nothing_no_image_waits_for_a_full_batch() -> None:
    more = threading.Event()

    def source() -> Iterator[MadeItem]:
        yield MadeItem(1)
        yield MadeItem(2)
        more.wait(10)
        yield MadeItem(3)

    results = iter(stream(BrightBox(), source(), StreamOptions(batch_size=8)))
    assert [next(results).item.name, next(results).item.name] == ["made 1", "made 2"]
    assert not more.is_set()
    more.set()
    assert [result.item.name for result in results] == ["made 3"]


def test_few_images_are_taken_ahead_of_the_caller() -> None:
    taken = 0

    def source() -> Iterator[MadeItem]:
        nonlocal taken
        for number in range(1000):
            taken += 1
            yield MadeItem(number % 256)

    results = stream(BrightBox(), source(), StreamOptions(batch_size=2, workers=2)).results()
    next(results)
    time.sleep(0.2)
    assert taken <= 25
    results.close()
    assert not own_threads()


def test_frames_of_a_camera_are_taken_when_they_are_needed() -> None:
    class Camera:
        live, taken = True, 0

        def __iter__(self) -> Iterator[MadeItem]:
            while True:
                self.taken += 1
                yield MadeItem(7)

    class OnGpu(BrightBox):
        preferred_batch = 8

    camera, predictor = Camera(), OnGpu()
    results = stream(predictor, camera, StreamOptions(workers=4)).results()
    next(results)
    time.sleep(0.2)
    results.close()
    assert camera.taken <= 4
    assert {shape[0] for shape in predictor.seen} == {1}


def test_few_bytes_of_large_images_are_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("refinemask.streaming.pipeline.MOST_BYTES", 3 * 100 * 100 * 3)
    read, taken = [], []

    def source() -> Iterator[MadeItem]:
        for number in range(30):
            # As frames of a video come: not all at once.
            time.sleep(0.005)
            taken.append(number)
            yield MadeItem(number, 100, 100, happens=lambda: read.append(1))

    class Stuck(BrightBox):
        released = threading.Event()

        def detect(self, *args: Any, **phases: Any) -> list[Any]:
            self.released.wait(10)
            return super().detect(*args, **phases)

    predictor = Stuck()
    results = stream(predictor, source(), StreamOptions(batch_size=4, workers=3)).results()
    until_then = []

    def release() -> None:
        until_then.extend([len(read), len(taken)])
        predictor.released.set()

    threading.Timer(0.5, release).start()
    assert len(list(results)) == 30
    # Each of three threads may have begun one when the budget was used up.
    assert until_then[0] <= 6
    assert until_then[1] < 20


@pytest.mark.parametrize("error", [RuntimeError("of a library"), KeyboardInterrupt(), OSError(28, "full")])
@pytest.mark.parametrize("where", ["source", "read", "detect", "render"])
def test_what_fails_in_a_stage_comes_after_the_results_before_it(where: str, error: BaseException) -> None:
    def fail() -> None:
        raise error

    class Failing(BrightBox):
        def detect(self, images: np.ndarray, *args: Any, **phases: Any) -> list[Any]:
            if where == "detect" and (images[:, 0, 0, 0] == 5).any():
                fail()
            return super().detect(images, *args, **phases)

    def source() -> Iterator[MadeItem]:
        for number in range(1, 100):
            if where == "source" and number == 5:
                fail()
            yield MadeItem(number, happens=fail if where == "read" and number == 5 else lambda: None)

    def render(item: Any, prediction: Any, pixels: np.ndarray) -> None:
        if where == "render" and pixels[0, 0, 0] == 5:
            fail()

    found: list[str] = []
    results = stream(Failing(), source(), StreamOptions(workers=2), render=render).results()
    with pytest.raises(type(error)):
        found.extend(result.item.name for result in results)
    assert found == [f"made {number}" for number in range(1, 5)]
    assert not own_threads()


def test_a_batch_that_fails_is_tried_image_by_image() -> None:
    class Picky(BrightBox):
        def detect(self, images: np.ndarray, *args: Any, **phases: Any) -> list[Any]:
            if (images[:, 0, 0, 0] == 3).any():
                raise UserError("the network fails")
            return super().detect(images, *args, **phases)

    items = [MadeItem(number) for number in range(1, 9)]
    results = list(stream(Picky(), items, StreamOptions(batch_size=4, workers=1)).results())
    failed = [result for result in results if result.error]
    assert [(result.item.name, str(result.error), result.was_read) for result in failed] == [
        ("made 3", "the network fails", True)
    ]
    assert [result.prediction.to_coco() for result in results if result.prediction is not None] == [
        found for item, found in zip(items, serial(items), strict=True) if item.brightness != 3
    ]


def test_a_batch_that_is_larger_than_the_predictor_takes_ends_the_pass() -> None:
    class Single(BrightBox):
        def detect(self, images: np.ndarray, *args: Any, **phases: Any) -> list[Any]:
            if len(images) > 1:
                raise InputError("2 images in a batch")
            return super().detect(images, *args, **phases)

    with pytest.raises(InputError, match="2 images in a batch"):
        list(stream(Single(), [MadeItem(1), MadeItem(2)], StreamOptions(batch_size=2)).results())


def test_leaving_the_iteration_ends_all_threads() -> None:
    closed = threading.Event()

    def source() -> Iterator[MadeItem]:
        try:
            while True:
                yield MadeItem(7, delay=0.001)
        finally:
            closed.set()

    for result in stream(Slow(), source(), StreamOptions(workers=3)).results():
        assert result.error is None
        break
    assert closed.wait(1)
    assert not own_threads()


def test_a_source_that_waits_for_input_is_closed() -> None:
    class Waiting:
        closed = threading.Event()

        def __iter__(self) -> Iterator[MadeItem]:
            yield MadeItem(1)
            self.closed.wait(10)

        def close(self) -> None:
            self.closed.set()

    next(results := stream(BrightBox(), Waiting()).results())
    results.close()
    assert Waiting.closed.is_set()
    assert not own_threads()


def test_tiles_of_several_images_share_batches() -> None:
    image = np.zeros((50, 90, 3), np.uint8)
    image[10:20, 5:80, 0] = 50

    class Striped(MadeItem):
        def read(self, window: Any) -> np.ndarray:
            return image

    predictor = ColouredObjects(40)
    options = StreamOptions(batch_size=4, tiling=Tiling(40, 10), workers=1)
    results = list(stream(predictor, [Striped(1), Striped(2)], options).results())
    [first, second] = [result.prediction for result in results]
    assert first is not None
    assert second is not None
    assert first.boxes.tolist() == second.boxes.tolist() == [[5, 10, 80, 20]]
    assert set(predictor.batches) == {4}


def test_an_image_that_fails_in_two_tiles_fails_once_and_its_others_are_left_out() -> None:
    tried = []

    class Refusing(ColouredObjects):
        def detect(self, *args: Any, **phases: Any) -> list[Any]:
            tried.append(1)
            time.sleep(0.001)
            raise UserError("no")

    items = [MadeItem(number, 200, 200) for number in range(3)]
    results = list(stream(Refusing(40), items, StreamOptions(tiling=Tiling(40, 10), workers=4)).results())
    assert [str(result.error) for result in results] == ["no"] * 3
    assert len(Tiling(40, 10).tiles(200, 200)) == 49
    # Each of five threads may have begun one when the first one fails.
    assert len(tried) <= 3 * 5


def test_one_that_was_cancelled_by_its_own_reader_is_an_error() -> None:
    def cancel() -> None:
        raise CancelledError

    results = stream(
        BrightBox(), [MadeItem(1), MadeItem(2, happens=cancel), MadeItem(3)], StreamOptions(workers=1)
    ).results()
    assert next(results).item.name == "made 1"
    with pytest.raises(CancelledError):
        list(results)
