"""Training with two processes, through ``torchrun`` as a user would start it."""

import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from refinemask.data.coco import read_coco
from refinemask.evaluation.metrics import METRICS
from refinemask.modeling.detector import Detector
from refinemask.training.validation import validate
from refinemask.weights import load_detector, save_detector
from tests.support import tiny_training
from tests.support.processes import is_alive, wait_until
from tests.support.tolerances import TOLERANCES

ROOT = Path(__file__).resolve().parents[2]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
EPOCHS = "6"
PATIENCE = 600
"""Seconds after which a step that never came fails the test; nothing is measured."""


@pytest.fixture(scope="module")
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tiny_training.draw_dataset(tmp_path_factory.mktemp("data"))
    torch.manual_seed(0)
    config = replace(tiny_training.FROZEN_RECIPE.model, class_names=("square", "disk"), category_ids=(3, 7))
    save_detector(Detector(config), root / "init.safetensors", recipe="tiny-frozen")
    return root


@pytest.fixture(scope="module")
def start(data_root: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    processes: list[subprocess.Popen[str]] = []

    def run(launcher: list[str], output: Path, *extra: str) -> subprocess.Popen[str]:
        command = [*launcher, tiny_training.__file__, "--recipe", "tiny-frozen", "--data-root", str(data_root)]
        command += ["--init", str(data_root / "init.safetensors"), "--output", str(output), "--device", "cpu"]
        command += ["--workers", "0", "--log-every", "1", "--evaluate-every", "6", *extra]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        processes.append(
            subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        )
        return processes[-1]

    yield run
    for process in processes:
        process.kill()
        process.wait()


def records(output: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]


def losses(output: Path) -> list[dict[str, float]]:
    return [record["losses"] for record in records(output) if "losses" in record]


def wait_for_iterations(process: subprocess.Popen[str], output: Path, count: int) -> None:
    deadline = time.monotonic() + PATIENCE
    metrics = output / "metrics.jsonl"
    while not metrics.is_file() or metrics.read_text().count("\n") < count:
        if process.poll() is not None or time.monotonic() > deadline:
            pytest.fail(f"no iteration {count}: {process.communicate()[0]}")
        time.sleep(0.1)


def workers(process: subprocess.Popen[str]) -> list[int]:
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [pid for pid in map(int, children) if b"tiny_training" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def finish(process: subprocess.Popen[str]) -> str:
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, output
    return output


@pytest.fixture(scope="module")
def whole(start: Callable[..., subprocess.Popen[str]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a finished run of two processes."""
    output = tmp_path_factory.mktemp("whole") / "run"
    finish(start(TORCHRUN, output, "--epochs", EPOCHS))
    return output


def test_two_processes_share_the_joint_batch(
    start: Callable[..., subprocess.Popen[str]], whole: Path, tmp_path: Path
) -> None:
    finish(start([sys.executable], tmp_path / "one", "--epochs", EPOCHS))
    tolerance = TOLERANCES["losses of shared batches"]
    # Later on, float noise has changed which proposals are sampled.
    for joint, shared in zip(losses(tmp_path / "one")[:4], losses(whole), strict=False):
        assert joint.keys() == shared.keys()
        for name in joint:
            np.testing.assert_allclose(shared[name], joint[name], rtol=tolerance.relative, atol=tolerance.absolute)


def test_sigterm_saves_and_resume_goes_on(
    start: Callable[..., subprocess.Popen[str]], whole: Path, tmp_path: Path
) -> None:
    output = tmp_path / "cut"
    # Torchrun passes the signal on to the whole process group, loaders among them.
    cut = start(TORCHRUN, output, "--epochs", EPOCHS, "--workers", "1")
    wait_for_iterations(cut, output, 3)
    cut.send_signal(signal.SIGTERM)
    told, _ = cut.communicate(timeout=PATIENCE)
    assert cut.returncode != 0
    assert "--resume auto" in told
    assert 3 <= len(losses(output)) < len(losses(whole))
    finish(start(TORCHRUN, output, "--epochs", EPOCHS, "--resume", "auto"))
    assert losses(output) == losses(whole)


def test_skipped_images_of_every_process_are_told(
    start: Callable[..., subprocess.Popen[str]], data_root: Path, tmp_path: Path
) -> None:
    shutil.copytree(data_root, tmp_path / "data")
    for name in ("2.png", "5.png", "6.png"):
        (tmp_path / "data" / "images" / name).write_bytes(b"")
    reasons = []
    for name, launcher in (("one", [sys.executable]), ("two", TORCHRUN)):
        options = ["--data-root", str(tmp_path / "data"), "--epochs", "2", "--evaluate-every", "0"]
        finish(start(launcher, tmp_path / name, *options))
        reasons.append(sorted(record["skipped"] for record in records(tmp_path / name) if "skipped" in record))
    assert len(set(reasons[0])) == 3
    assert reasons[0] == reasons[1]


def test_one_process_writes_the_profile(start: Callable[..., subprocess.Popen[str]], tmp_path: Path) -> None:
    told = finish(start(TORCHRUN, tmp_path / "run", "--epochs", "20", "--profile"))
    assert told.count("Self CPU time total") == 1
    with gzip.open(tmp_path / "run" / "profile.json.gz") as trace:
        assert json.load(trace)["traceEvents"]


def test_a_killed_process_ends_the_job(start: Callable[..., subprocess.Popen[str]], tmp_path: Path) -> None:
    job = start(TORCHRUN, tmp_path / "run", "--epochs", "1000", "--evaluate-every", "0")
    wait_for_iterations(job, tmp_path / "run", 1)
    pids = workers(job)
    assert len(pids) == 2
    os.kill(pids[1], signal.SIGKILL)
    told, _ = job.communicate(timeout=PATIENCE)
    assert job.returncode != 0
    assert "exitcode  : -9" in told
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


@pytest.mark.slow
def test_a_launcher_that_is_killed_takes_its_job_along_whose_state_is_saved(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    job = start(TORCHRUN, tmp_path / "run", "--epochs", "1000", "--evaluate-every", "0")
    wait_for_iterations(job, tmp_path / "run", 1)
    pids = workers(job)
    job.kill()
    assert wait_until(lambda: not any(map(is_alive, pids)))
    assert len(pids) == 2
    assert (tmp_path / "run" / "state.pt").is_file()


def test_evaluation_by_two_processes_counts_each_image_once(data_root: Path, whole: Path, tmp_path: Path) -> None:
    (record,) = (r for r in records(whole) if "average_precision" in r)
    dataset = read_coco(data_root / "train.json")
    detector = load_detector(whole / "last.safetensors")
    found = validate(detector, METRICS["coco"], dataset, data_root / "images", torch.device("cpu"))
    assert (found.images, found.skipped) == (8, ())
    assert record["average_precision"] == found.figures
    command = [*TORCHRUN, "-m", "refinemask.evaluate", "--checkpoint", str(whole / "last.safetensors")]
    command += ["--annotations", str(data_root / "train.json"), "--images", str(data_root / "images")]
    command += ["--output", str(tmp_path / "o.json"), "--predictions", str(tmp_path / "p.jsonl"), "--threads", "1"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    finish(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))
    told = json.loads((tmp_path / "o.json").read_text())
    assert (told["images"], told["figures"]) == (8, found.figures)
    own = [(tmp_path / f"p.jsonl.{n}-of-2").read_text().count("\n") - 1 for n in (1, 2)]
    assert own == [4, 4]
