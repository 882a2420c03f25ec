"""How many threads and images a pipeline has."""

from types import SimpleNamespace
from typing import Any

import pytest

from refinemask.files import UserError
from refinemask.streaming.plan import Plan, StreamOptions, make_plan, processors


def plan(options: StreamOptions | None = None, live: bool = False, **attributes: int) -> Plan:
    predictor: Any = SimpleNamespace(**attributes)
    return make_plan(predictor, options or StreamOptions(), live=live)


@pytest.mark.parametrize(("processors", "workers"), [(1, 1), (2, 1), (3, 1), (4, 2), (16, 8), (128, 8)])
def test_threads_follow_the_processors(monkeypatch: pytest.MonkeyPatch, processors: int, workers: int) -> None:
    monkeypatch.setattr("refinemask.streaming.plan.processors", lambda: processors)
    assert plan().workers == workers
    assert plan(StreamOptions(workers=20)).workers == 20


def test_the_batch_is_what_the_predictor_prefers_and_never_less_than_it_takes() -> None:
    assert plan().batch_size == 1
    assert plan(preferred_batch=4).batch_size == 4
    assert plan(StreamOptions(batch_size=2), preferred_batch=4).batch_size == 2
    assert plan(StreamOptions(batch_size=2), preferred_batch=4, smallest_batch=3).batch_size == 3


def test_an_incomplete_batch_goes_before_the_window_is_full() -> None:
    for batch in range(1, 20):
        for workers in (1, 2, 8):
            for live in (False, True):
                made = plan(StreamOptions(batch_size=batch, workers=workers), live=live, concurrency=2)
                assert made.patience < made.window


def test_a_camera_has_few_images_on_the_way() -> None:
    assert plan(live=True, concurrency=2, preferred_batch=8).window == 3
    assert plan(StreamOptions(batch_size=2), live=True, preferred_batch=8).batch_size == 2
    assert plan(live=True, preferred_batch=8, smallest_batch=4).batch_size == 4


@pytest.mark.parametrize("option", [{"batch_size": 0}, {"workers": 0}, {"batch_size": True}, {"workers": 1.5}])
def test_numbers_that_are_not_possible_are_refused(option: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="expected at least 1"):
        StreamOptions(**option)


def test_the_processors_are_those_that_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {1, 5, 6}, raising=False)
    assert processors() == 3
    # Some systems tell but how many the machine has.
    monkeypatch.delattr("os.sched_getaffinity")
    monkeypatch.setattr("os.cpu_count", lambda: 7)
    assert processors() == 7


def test_the_processes_of_torchrun_share_a_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = processors()
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(alone))
    assert processors() == 1
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1000")
    assert processors() == 1
