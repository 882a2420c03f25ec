"""A tiny run of the benchmark: its structure, and that the pipeline gives what one image at a time gives."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.harness.report_file import read_report
from benchmarks.streaming import __main__ as streaming
from benchmarks.streaming import waiting
from benchmarks.streaming.__main__ import Args, main
from benchmarks.streaming.material import write_jpegs
from benchmarks.streaming.report import StreamingReport
from benchmarks.streaming.simulated import CONCURRENCIES, given_objects
from benchmarks.streaming.turns import Route, Watch, serial, streamed, take_turns
from benchmarks.streaming.waiting import DeviceQueue, WaitingPredictor
from refinemask.files import FailedCheckError

TINY = Args(
    milliseconds=(1.0,), size=(48, 64), rounds=2, turn_seconds=0.05, video_seconds=1.0, video_size=(48, 64), masks=3
)


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def call(timeout: float | None, function: Any, *args: Any, **options: Any) -> Any:
        return function(*args, **options)

    monkeypatch.setattr(streaming, "call_in_child", call)


def test_a_tiny_run_reports_every_part(tmp_path: Path, toy_onnx: Path) -> None:
    output = tmp_path / "report.json"
    args = Args(**vars(TINY) | {"nuclei": (str(toy_onnx),), "evaluated": 6, "output": output})
    assert main(args) == 0
    report = read_report(StreamingReport, output)
    assert [(each.milliseconds, each.concurrency, each.images) for each in report.waiting] == [
        (1.0, places, 5) for places in CONCURRENCIES
    ]
    for each in report.waiting:
        assert each.share.n == each.gain.n == len(each.serial.samples) == len(each.alone.samples) == 2
        assert sum(each.busy.limits.values()) == 2
        assert {"decode", "resize", "engine", "paste"} < set(each.busy.shares)
    assert set(report.host.milliseconds) == {"decode", "resize", "paste"}
    assert report.video is not None
    assert (report.video.frames, report.video.first_frames) == (30, 30)
    assert (report.video.height, report.video.width) == (48, 64)
    [engine] = report.engines
    assert (engine.name, engine.gain.n) == ("ONNX Runtime", 2)
    assert engine.busy is not None
    assert report.evaluation is not None
    assert (report.evaluation.images, report.evaluation.gain.n) == (3, 2)


@pytest.mark.parametrize("concurrency", CONCURRENCIES)
def test_the_pipeline_gives_what_one_image_at_a_time_gives(tmp_path: Path, concurrency: int) -> None:
    predictor = WaitingPredictor(0.001, concurrency, given_objects(3, 48, 64))
    paths = write_jpegs(tmp_path, 20, 48, 64)
    found = serial(predictor, paths)
    assert streamed(predictor, paths, Watch()) == found
    assert len({str(each) for each in found}) == len(paths), "a mistake in the order would be seen"


def test_results_that_differ_fail() -> None:
    routes = {"serial": Route(lambda: [1], 1), "alone": Route(lambda: None, 1), "streamed": Route(lambda: [2], 1)}
    with pytest.raises(FailedCheckError, match=r"the results of '(serial|streamed)' are not those of"):
        take_turns(routes, 1)


def test_a_batch_begins_when_the_one_before_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(waiting.time, "perf_counter", lambda: 100.0)
    monkeypatch.setattr(waiting.time, "sleep", slept.append)
    device = DeviceQueue(2.0, 2)
    for _ in range(3):
        device.run()
    assert slept == [2.0, 4.0, 6.0]


def test_copies_of_a_photograph_differ(tmp_path: Path) -> None:
    contents = [path.read_bytes() for path in write_jpegs(tmp_path, 30, 48, 64)]
    assert len(set(contents)) == 30


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"rounds": 0}, "--rounds"),
        ({"milliseconds": (0.0,)}, "--milliseconds"),
        ({"evaluated": 5}, "--evaluated needs an engine"),
    ],
)
def test_what_makes_no_sense_is_one_line_and_code_2(
    wrong: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [word for name, value in wrong.items() for word in (f"--{name}", *map(str, np.ravel(value)))]
    monkeypatch.setattr("sys.argv", ["streaming", *words])
    assert main() == 2
    assert message in capsys.readouterr().err
