"""Whatever of a job is killed, and however it is divided: in the end its results are the same bytes."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ray")

from refinemask.bundled import DEMO
from tests.support.batch_jobs import MARK, ROOT, RunningJob, coco, digest, end, job, parent_of, worker_processes
from tests.support.once import once
from tests.support.processes import is_alive, needs_proc, wait_until

pytestmark = [needs_proc, pytest.mark.slow]
IMAGES = 60
SLOW = 0.15
"""Seconds an image, so that a job can be killed in its middle."""


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A list of the pictures of nuclei, some of them twice, one that is not there and one that is no picture."""
    pictures = sorted((DEMO / "nuclei" / "images").iterdir())[:46]
    path = tmp_path_factory.mktemp("list") / "images.txt"
    bad = path.with_name("bad.png")
    bad.write_bytes(b"no picture")
    names = [*islice(cycle(pictures), IMAGES - 2), bad, path.with_name("missing.png")]
    path.write_text("".join(f"{name}\n" for name in names))
    return path


@pytest.fixture(scope="module")
def expected(images: Path, tiny_files: tuple[Path, Path], run_directory: Path) -> str:
    """The hash of the results of one actor that nothing happened to."""

    def make(folder: Path) -> None:
        with job(images, tiny_files[1], folder / "job", "--actors", "1") as running:
            running.end()

    return digest(coco(once(run_directory / "undisturbed", make) / "job"))


def finish(images: Path, model: Path, folder: Path, *options: str) -> None:
    """Run a job to its end."""
    with job(images, model, folder, *options) as running:
        running.end()


def assert_whole(folder: Path, expected: str) -> None:
    """Fail unless the results are the expected bytes, and the folder holds nothing but whole files."""
    assert digest(coco(folder)) == expected
    manifest = json.loads((folder / "manifest.json").read_text())
    assert (manifest["images"], manifest["failed"], manifest["quarantined"]) == (IMAGES, 2, 0)
    assert sum(shard["rows"] for shard in manifest["shards"]) == IMAGES
    left = [path.name for path in folder.rglob("*") if path.name.startswith(".")]
    assert not left


def test_the_results_are_what_predict_finds(
    images: Path, tiny_files: tuple[Path, Path], expected: str, tmp_path: Path
) -> None:
    folder = tmp_path / "job"
    finish(images, tiny_files[1], folder, "--shard-size", "7")
    assert_whole(folder, expected)
    command = [sys.executable, "-m", "refinemask.predict", "--list", str(images), "--model", str(tiny_files[1])]
    command += ["-o", str(tmp_path / "predicted"), "--no-draw", "--threads", "1"]
    subprocess.run(command, cwd=ROOT, check=True)
    ours, theirs = (json.loads(path.read_text()) for path in (coco(folder), tmp_path / "predicted" / "results.json"))
    assert len(ours) > IMAGES
    for each in (*ours, *theirs):
        each["file_name"] = Path(each["file_name"]).name
    assert ours == theirs


@pytest.mark.parametrize(("actors", "size"), [(2, 7), (5, 1000), (5, 1)])
def test_neither_actors_nor_shards_change_the_results(
    images: Path, tiny_files: tuple[Path, Path], expected: str, tmp_path: Path, actors: int, size: int
) -> None:
    finish(images, tiny_files[1], tmp_path / "job", "--actors", str(actors), "--shard-size", str(size))
    assert_whole(tmp_path / "job", expected)


@pytest.mark.parametrize("whose", ["children", "actors"])
def test_killed_workers_change_nothing(
    images: Path, tiny_files: tuple[Path, Path], expected: str, tmp_path: Path, whose: str
) -> None:
    folder = tmp_path / "job"
    with job(images, tiny_files[1], folder, "--actors", "2", "--shard-size", "5", seconds=SLOW) as running:
        for shards in (1, 4):
            running.wait_for_shards(shards)
            assert wait_until(lambda: bool(running.children()), 60)
            os.kill(getattr(running, whose)()[0], signal.SIGKILL)
        running.end()
    assert_whole(folder, expected)


def test_a_driver_that_is_killed_goes_on_with_the_same_command(
    images: Path, tiny_files: tuple[Path, Path], expected: str, tmp_path: Path
) -> None:
    folder = tmp_path / "job"
    options = ["--actors", "2", "--shard-size", "5"]
    for shards in (1, 5):
        with job(images, tiny_files[1], folder, *options, seconds=SLOW) as running:
            running.wait_for_shards(shards)
            before = written(running)
            running.process.kill()
            running.process.wait()
    finish(images, tiny_files[1], folder, *options)
    assert_whole(folder, expected)
    after = {path.name: path.stat().st_mtime_ns for path in (folder / "results").iterdir()}
    # What was finished was not made again.
    assert before.items() <= after.items()


def test_the_image_that_kills_is_in_quarantine_and_all_others_are_there(
    images: Path, tiny_files: tuple[Path, Path], tmp_path: Path
) -> None:
    names = images.read_text().splitlines()
    deadly = tmp_path / "deadly.png"
    deadly.write_bytes(Path(names[0]).read_bytes())
    good, bad = names[:20], [*names[:10], str(deadly), *names[10:20]]
    results = []
    for name, listed in (("good", good), ("bad", bad)):
        (tmp_path / f"{name}.txt").write_text("\n".join(listed))
        options = ["--actors", "2", "--retries", "1", "--shard-size", "6"]
        finish(tmp_path / f"{name}.txt", tiny_files[1], tmp_path / name, *options)
        results.append(json.loads(coco(tmp_path / name).read_text()))
    manifest = json.loads((tmp_path / "bad" / "manifest.json").read_text())
    [failure] = manifest["failures"]
    assert (failure["index"], failure["image"], failure["quarantined"]) == (10, str(deadly), True)
    assert failure["error"] == "killed the worker process 2 times (signal 11, SIGSEGV)"
    for each in results[0]:
        # The images behind it have the next number.
        each["image_id"] += each["image_id"] > 10
    assert results[0] == results[1]


@contextmanager
def two_nodes(first: int, second: int) -> Iterator[tuple[str, int, str]]:
    """A cluster of nodes of so many CPUs: its address, the process of the second raylet, and the mark of all."""
    mark = uuid.uuid4().hex
    with tempfile.TemporaryDirectory(prefix="rm", ignore_cleanup_errors=True) as scratch:
        path = f"{ROOT / 'tests/support/slow_images'}{os.pathsep}{ROOT}"
        variables = {"PYTHONPATH": path, "SECONDS_AN_IMAGE": str(SLOW), MARK: mark, "RAY_TMPDIR": scratch}
        command = [sys.executable, "-m", "tests.support.two_nodes", str(first), str(second)]
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        environment = {**os.environ, **variables, "OMP_NUM_THREADS": "1"}
        with subprocess.Popen(command, cwd=ROOT, env=environment, text=True, **pipes) as cluster:
            try:
                assert cluster.stdout is not None
                address, _, raylet = cluster.stdout.readline().split()
                yield address, int(raylet), mark
            finally:
                cluster.kill()
                end(mark)


def test_a_lost_node_makes_the_job_slower_and_changes_nothing(
    images: Path, tiny_files: tuple[Path, Path], expected: str, tmp_path: Path
) -> None:
    folder = tmp_path / "job"
    with two_nodes(2, 2) as (address, raylet, mark):
        options = ["--address", address, "--actors", "3", "--shard-size", "2"]
        with job(images, tiny_files[1], folder, *options) as running:
            running.wait_for_shards(2)
            # Three actors do not fit the first node.
            assert wait_until(lambda: bool(of_node(raylet, mark)), 60)
            lost = of_node(raylet, mark)
            os.kill(raylet, signal.SIGKILL)
            assert wait_until(lambda: not any(map(is_alive, lost)), 30)
            assert running.shards() < IMAGES / 2
            running.end()
    assert_whole(folder, expected)


def of_node(raylet: int, mark: str) -> list[int]:
    """The worker processes of a node: children of actors, which are children of the raylet."""
    return [pid for pid in worker_processes(mark) if parent_of(parent_of(pid)) == raylet]


def written(running: RunningJob) -> dict[str, int]:
    """When each finished piece was written."""
    return {path.name: path.stat().st_mtime_ns for path in (running.folder / "results").glob("part-*.parquet")}
