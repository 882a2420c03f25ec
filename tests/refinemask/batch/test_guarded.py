"""An image that ends the worker process costs that image alone: who is at fault is found, whatever it does."""

import os
import resource
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from refinemask.batch import process
from refinemask.batch.guarded import Guarded
from refinemask.batch.row import Row
from refinemask.batch.settings import WorkerSettings
from refinemask.files import UserError
from tests.support.processes import is_alive, needs_proc

pytestmark = needs_proc
GOOD = [f"grey:{brightness}" for brightness in range(1, 26)]
Make = Callable[..., Guarded]


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Makes a guarded worker whose references say what happens, and closes it in the end."""
    monkeypatch.setattr(process, "CHILD", "tests.support.fake_batch_worker")
    made: list[Guarded] = []

    def make(retries: int = 0, timeout: float = 60.0) -> Guarded:
        made.append(Guarded(WorkerSettings(model="model.onnx", timeout=timeout), retries))
        return made[-1]

    yield make
    for each in made:
        each.close()


def assert_rows(rows: Sequence[Row], references: Sequence[str], reason: str = "") -> None:
    """Fail unless each image has its row, and whatever is no grey image has the reason."""
    assert [row.image for row in rows] == list(references)
    for row, reference in zip(rows, references, strict=True):
        kind, _, brightness = reference.partition(":")
        if kind == "grey":
            assert row.error is None
            assert row.scores.tolist() == pytest.approx([int(brightness) / 255])
            assert (row.height, row.width, row.category_ids.tolist()) == (20, 30, [9])
        else:
            assert row.error is not None
            assert reason in row.error
            assert row.height is None


def with_bad(bad: str, *places: int) -> list[str]:
    """Good images with bad ones at some places."""
    return [bad if place in places else reference for place, reference in enumerate(GOOD)]


def test_rows_come_in_order_from_one_process_that_lives_on(make: Make) -> None:
    worker = make()
    pid = worker.pid
    assert worker.engine == "bright box fp32"
    for _ in range(3):
        assert_rows(list(worker.rows(GOOD)), GOOD)
    assert list(worker.rows([])) == []
    assert worker.pid == pid
    assert worker.ends == 0


def test_an_image_that_cannot_be_read_is_a_row_and_ends_nothing(make: Make) -> None:
    references = with_bad("lost.jpg", 0, 7, 24)
    worker = make()
    assert_rows(list(worker.rows(references)), references, "lost.jpg: cannot be read: no such file")
    assert worker.ends == 0


@pytest.mark.parametrize("places", [(0,), (24,), (12,), (3, 4, 20)], ids=str)
def test_whoever_kills_the_process_is_found_and_the_others_have_their_rows(make: Make, places: tuple[int, ...]) -> None:
    references = with_bad("signal:11", *places)
    assert_rows(list(make().rows(references)), references, "killed the worker process once (signal 11, SIGSEGV)")


def test_where_every_image_kills_every_image_has_its_reason(make: Make) -> None:
    references = ["signal:9"] * 4
    rows = list(make(retries=1).rows(references))
    assert_rows(rows, references, "killed the worker process 2 times (signal 9, SIGKILL, usually lack of memory)")


def test_an_image_that_kills_once_has_its_row_at_the_retry(make: Make, tmp_path: Path) -> None:
    references = with_bad(f"once:9:{tmp_path / 'killed'}", 10)
    worker = make(retries=1)
    rows = list(worker.rows(references))
    assert [row.error for row in rows] == [None] * len(rows)
    assert worker.ends == 1


def test_an_exit_is_told_with_the_last_that_was_printed(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAID", "x" * 100_000 + "\nthe heap is no heap\n\n")
    references = with_bad("exit:3", 5)
    assert_rows(list(make().rows(references)), references, "(exit code 3: the heap is no heap)")


def test_the_reason_of_an_abort_is_told(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAID", "terminate called: std::bad_alloc")
    [row] = make().rows([f"signal:{int(signal.SIGABRT)}"])
    assert row.error == "killed the worker process once (signal 6, SIGABRT: terminate called: std::bad_alloc)"


def test_a_process_that_says_nothing_for_too_long_is_killed(make: Make) -> None:
    references = with_bad("hang", 2)
    worker = make(timeout=1.5)
    assert_rows(list(worker.rows(references)), references, "killed the worker process once (no result for 1.5 s)")


def test_a_runtime_that_fails_is_tried_in_another_process(make: Make) -> None:
    references = with_bad("engine:", 4)
    worker = make(retries=1)
    reason = "killed the worker process 2 times (exit code 1: fails on these images: the device is lost)"
    assert_rows(list(worker.rows(references)), references, reason)


def test_an_image_for_which_there_is_no_memory_leaves_room_for_the_others(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Threads and libraries take address space, not memory; the image alone is larger than what is left.
    monkeypatch.setenv("LIMIT_MIB", "4096")
    references = with_bad("memory:5000", 8)
    assert_rows(list(make().rows(references)), references, "MemoryError")


def test_a_model_that_cannot_be_opened_is_an_error_at_once(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("START", "refuse")
    with pytest.raises(UserError, match=r"^the model is no model; give another one$"):
        make(retries=5)


def test_a_process_that_never_begins_is_tried_again_and_then_an_error(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("START", "exit:4")
    with pytest.raises(UserError, match=r"model\.onnx: the worker process ended 3 times before .* \(exit code 4\)"):
        make(retries=2)


def test_a_process_that_begins_at_the_second_start_does_the_work(
    make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("START", f"once:9:{tmp_path / 'killed'}")
    assert_rows(list(make(retries=1).rows(GOOD)), GOOD)


def kill_and_wait(pid: int | None) -> None:
    """Kill a child of this process, and wait until its exit code can be had: until its last thread has ended."""
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


def test_failed_starts_are_forgiven_by_work(make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    killed = tmp_path / "killed"
    monkeypatch.setenv("START", f"once:9:{killed}")
    worker = make(retries=1)
    for _ in range(2):
        assert_rows(list(worker.rows(GOOD)), GOOD)
        kill_and_wait(worker.pid)
        killed.unlink()


def test_whoever_kills_the_process_from_outside_loses_no_row(make: Make) -> None:
    worker = make()
    rows: list[Row] = []
    # More than the process can have done, and the connection holds, by the fifth row.
    many = [*GOOD] * 50
    pid = worker.pid
    kill_and_wait(pid)
    for row in worker.rows(many):
        rows.append(row)
        if len(rows) == 5:
            os.kill(_only_child(), signal.SIGKILL)
    assert_rows(rows, many)
    assert worker.pid != pid
    assert worker.ends == 2


def test_rows_that_nobody_waits_for_end_the_process_and_later_ones_have_a_new_one(make: Make) -> None:
    worker = make()
    rows = worker.rows(GOOD)
    next(rows)
    pid = _only_child()
    rows.close()
    assert not is_alive(pid)
    assert_rows(list(worker.rows(GOOD)), GOOD)


def test_no_process_and_no_open_file_is_left(make: Make) -> None:
    before = os.listdir("/proc/self/fd")
    worker = make()
    list(worker.rows(with_bad("signal:9", 3)))
    pid = worker.pid
    assert pid is not None
    worker.close()
    worker.close()
    assert not is_alive(pid)
    assert len(os.listdir("/proc/self/fd")) == len(before)


def test_the_memory_does_not_grow_with_the_images(make: Make) -> None:
    worker = make()
    assert worker.pid is not None
    references = GOOD * 20
    sizes: list[int] = []
    for _ in range(12):
        assert len(list(worker.rows(references))) == len(references)
        sizes.append(_resident_bytes(worker.pid))
    assert max(sizes[6:]) - max(sizes[:6]) < 4 << 20


def _only_child() -> int:
    """The process that has images, which its owner does not tell; any thread of this process may have started it.

    This process may have others, such as a server of other tests.
    """
    threads = Path("/proc/self/task").iterdir()
    pids = [int(pid) for thread in threads for pid in (thread / "children").read_text().split()]
    [pid] = [pid for pid in pids if process.CHILD.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()]
    return pid


def _resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()
