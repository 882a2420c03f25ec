"""The rule by which a load is steady, bytes of answers, and a tiny run against a real server."""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from benchmarks.harness.report_file import read_report
from benchmarks.serving.__main__ import Args, main
from benchmarks.serving.answers import tensor_bytes
from benchmarks.serving.clients import ThreadedClients
from benchmarks.serving.report import ServingReport
from benchmarks.serving.windows import Finished, Rule, Window, agree, measure
from engines.triton import write_repository
from refinemask.bundled import NUCLEI
from refinemask.files import UserError
from tests.support.triton_server import require_server, triton_server


def window(per_second: float, latency: float) -> Window:
    return Window(per_second=per_second, latencies=(latency,))


@pytest.mark.parametrize(
    ("windows", "expected"),
    [
        ([window(10, 1), window(10.5, 1), window(9.5, 1)], True),
        ([window(10, 1), window(10, 1), window(13, 1)], False),
        ([window(10, 1), window(10, 1), window(10, 1.3)], False),
    ],
)
def test_windows_agree_in_throughput_and_latency(windows: list[Window], expected: bool) -> None:
    assert agree(windows, 0.1) is expected


class Scripted:
    """A load whose windows have a number of requests each, as a script says."""

    def __init__(self, counts: Sequence[int]) -> None:
        self._counts = list(counts)
        self._done: list[Finished] = []
        self.running = 0

    def start(self, clients: int) -> None:
        self.running = clients

    def wait(self, seconds: float) -> None:
        now = time.perf_counter()
        self._done += [Finished(now, 0.5)] * self._counts.pop(0)
        while time.perf_counter() < now + seconds:
            pass

    def finished(self) -> Sequence[Finished]:
        return self._done

    def stop(self) -> None:
        self.running = 0


def test_a_load_ends_when_its_last_three_windows_agree() -> None:
    load = Scripted([2, 50, 100, 100, 100, 7])
    steady = measure(load, 4, Rule(seconds=0.02, within=0.3, most=6), load.wait)
    assert (steady.is_stable, steady.measured, len(steady.latencies)) == (True, 5, 300)
    assert load.running == 0


def test_a_load_that_never_settles_is_reported_so() -> None:
    load = Scripted([1, 10, 100, 1000])
    steady = measure(load, 4, Rule(seconds=0.02, within=0.1, most=4), load.wait)
    assert (steady.is_stable, steady.measured, len(steady.latencies)) == (False, 4, 1110)


def test_a_window_without_an_answer_is_an_error() -> None:
    load = Scripted([1, 0])
    with pytest.raises(UserError, match="--window-seconds"):
        measure(load, 1, Rule(seconds=0.01, within=0.1, most=4), load.wait)
    assert load.running == 0


def test_what_a_client_fails_by_ends_the_measurement() -> None:
    def fail(data: bytes) -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        measure(ThreadedClients(fail, [b""]), 2, Rule(seconds=0.05, within=0.1, most=3))


def test_texts_count_with_their_lengths() -> None:
    texts = np.array([[b"abc", b""]], dtype=object)
    assert tensor_bytes({"texts": texts, "scores": np.zeros((1, 2), np.float32)}) == (4 + 3) + 4 + 8


def test_a_tiny_run_reports_every_way(tiny_files: tuple[Path, Path], tmp_path: Path) -> None:
    require_server()
    write_repository(tiny_files[1], tmp_path / "repository", {"threads": 1}, network="python")
    with triton_server(tmp_path / "repository") as server:
        args = Args(
            urls=(f"http://{server.http}", f"grpc://{server.grpc}"),
            network="tiny_network",
            local=str(tiny_files[1]),
            images=NUCLEI / "images",
            limit=3,
            clients=(2,),
            rounds=1,
            window_seconds=1.0,
            most_windows=3,
            output=tmp_path / "report.json",
        )
        assert main(args) == 0
    report = read_report(ServingReport, tmp_path / "report.json")
    found = [(each.way, each.protocol) for each in report.loads]
    assert found == [("server", "http"), ("client", "http"), ("server", "grpc"), ("client", "grpc"), ("in process", "")]
    for each in report.loads:
        assert len(each.windows_per_second) == 3
        assert each.latency_ms.p50 <= each.latency_ms.p99
        assert (each.images_per_execution is None) == (each.way == "in process")
    sizes = {each.response: each.mean for each in report.answers}
    assert list(sizes) == ["rle", "polygons", "masks", "network", "float masks"]
    assert sizes["rle"] < sizes["network"] < sizes["float masks"]
    assert (report.images, report.engine, report.server.split()[0]) == (3, "onnxruntime", "triton")
