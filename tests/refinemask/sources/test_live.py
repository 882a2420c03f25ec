import threading
import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from refinemask.files import UserError
from refinemask.sources.captures import open_stream
from refinemask.sources.item import Item
from refinemask.sources.live import LiveVideo, Patience
from tests.support.videos import FakeCapture, mjpeg_server, number_of

SHORT = Patience(wait=0.2, reopenings=2, pause=0.01)


def live(
    connect: Callable[[], FakeCapture], *, patience: Patience = SHORT, every: int = 1, most: int | None = None
) -> LiveVideo:
    return LiveVideo("cam", "cam", connect, remedy="plug it in", every=every, max_frames=most, patience=patience)


@pytest.fixture(autouse=True)
def _no_thread_stays() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


def failure(item: Item) -> str:
    with pytest.raises(UserError) as caught:
        item.read(None)
    return str(caught.value)


class Gate:
    """Lets frames through, one for each call of ``open``."""

    def __init__(self) -> None:
        self._frames = threading.Semaphore(0)
        self.waiting = threading.Semaphore(0)

    def wait(self) -> None:
        self.waiting.release()
        assert self._frames.acquire(timeout=10)

    def open(self, frames: int) -> None:
        """Let so many frames through, and wait until the reader asks for one more."""
        for _ in range(frames):
            self._frames.release()
            assert self.waiting.acquire(timeout=10)


def test_the_newest_frame_is_taken_and_the_others_are_counted() -> None:
    gate = Gate()
    source = live(lambda: FakeCapture(20, wait=gate.wait), most=3)
    items = iter(source)
    taken: list[Item] = []
    first = threading.Thread(target=lambda: taken.append(next(items)))
    first.start()
    assert gate.waiting.acquire(timeout=10)
    gate.open(1)
    first.join()
    gate.open(4)
    taken.append(next(items))
    gate.open(3)
    taken.append(next(items))
    threading.Timer(0.05, gate._frames.release).start()
    assert list(items) == []
    assert [number_of(item.read(None)) for item in taken] == [0, 4, 7]
    assert [str(item.place) for item in taken] == ["cam/000000", "cam/000004", "cam/000007"]
    assert source.live
    assert source.total == 3
    assert source.dropped == 5


def test_frames_that_every_leaves_out_are_not_dropped() -> None:
    source = live(lambda: FakeCapture(21, wait=lambda: time.sleep(0.01)), every=5, patience=Patience(reopenings=0))
    *items, end = source
    indices = [int(item.place.name) for item in items]
    assert set(indices) <= {0, 5, 10, 15, 20}
    assert len(indices) + source.dropped == 5
    assert items[0].video is not None
    assert items[0].video.fps == 6.0
    assert failure(end).startswith("cam: ended after 21 frames")


def test_a_rate_that_no_camera_has_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("refinemask.sources.live.frame_rate", lambda _: 1000.0)
    first = next(iter(live(lambda: FakeCapture(1), patience=Patience(reopenings=0))))
    assert first.video is not None
    assert first.video.fps == 60.0


def test_what_cannot_be_opened_is_not_tried_again() -> None:
    tries: list[int] = []

    def connect() -> FakeCapture:
        tries.append(1)
        return FakeCapture(0, opened=False)

    [item] = live(connect)
    assert failure(item) == "cam: cannot be opened, or gives no frame within 0.2 s; plug it in"
    assert len(tries) == 1


def test_a_stream_that_breaks_is_opened_again(capsys: pytest.CaptureFixture[str]) -> None:
    captures = [FakeCapture(2), FakeCapture(0, opened=False), FakeCapture(3)]
    opened = iter(captures)
    *items, end = live(lambda: next(opened))
    assert len({item.video for item in items}) == 1
    assert failure(end) == "cam: ended after 5 frames, although it was opened again 2 times"
    assert capsys.readouterr().err.splitlines() == [
        "cam: broke off after 2 frames, is opened again (1 of 2)",
        "cam: broke off after 2 frames, is opened again (2 of 2)",
    ]
    assert all(capture.released for capture in captures)


def test_a_long_steady_stream_may_break_often() -> None:
    opened = iter([FakeCapture(1) for _ in range(6)])
    source = live(lambda: next(opened), patience=Patience(reopenings=1, pause=0.0, steady=0.0))
    *_, end = source
    assert failure(end).startswith("cam: cannot be read: StopIteration"), "all six were opened"


def test_an_error_of_the_reader_ends_the_stream() -> None:
    def connect() -> FakeCapture:
        raise OSError("the bus is gone")

    [item] = live(connect)
    assert failure(item) == "cam: cannot be read: the bus is gone"


def test_a_call_that_never_returns_is_given_up() -> None:
    stuck = threading.Event()
    patience = Patience(wait=0.01, reopenings=0, pause=0.01)
    threading.Timer(0.5, stuck.set).start()
    [item] = live(lambda: FakeCapture(0, wait=stuck.wait), patience=patience)
    assert failure(item) == "cam: does not answer within 0.03 s"


@pytest.mark.parametrize("taken", [0, 1])
def test_closing_ends_an_iteration_that_waits_in_another_thread(taken: int) -> None:
    reached, over = threading.Event(), threading.Event()
    free = iter(range(taken))

    def wait() -> None:
        if next(free, None) is None:
            reached.set()
            assert over.wait(10)

    capture = FakeCapture(9, wait=wait)
    source = live(lambda: capture, patience=Patience())
    found: list[Item] = []
    thread = threading.Thread(target=lambda: found.extend(source))
    thread.start()
    assert reached.wait(10)
    source.close()
    over.set()
    thread.join(10)
    assert not thread.is_alive()
    assert len(found) <= taken
    assert capture.released


def test_a_real_stream_of_jpegs() -> None:
    with mjpeg_server(20) as url:
        source = LiveVideo("cam", "cam", partial(open_stream, url, 2.0), remedy="", patience=Patience(reopenings=0))
        *items, end = source
    assert failure(end).startswith("cam: ended after 20 frames")
    numbers = [number_of(item.read(None)) for item in items]
    assert numbers == [int(item.place.name) for item in items]
    assert len(items) + source.dropped == 20
    assert numbers[-1] == 19, "the last frame is never dropped"


def test_a_real_stream_that_stalls_ends(capfd: pytest.CaptureFixture[str]) -> None:
    patience = Patience(wait=0.3, reopenings=0)
    with mjpeg_server(5, then_hangs=True) as url:
        *items, end = LiveVideo("cam", "cam", partial(open_stream, url, 0.3), remedy="", patience=patience)
    assert 0 < len(items) <= 5
    assert failure(end).startswith("cam: ended after ")
    assert capfd.readouterr().err == ""


def test_a_real_stream_is_left_in_the_middle() -> None:
    with mjpeg_server(10_000) as url:
        items = list(LiveVideo("cam", "cam", partial(open_stream, url, 2.0), remedy="", max_frames=3))
    assert len(items) == 3
