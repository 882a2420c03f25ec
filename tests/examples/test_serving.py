"""The example that serves: what it answers, what it refuses, and that nothing of it is left."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import pytest

import engines
from refinemask.bundled import DEMO, NUCLEI

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "examples" / "serve_with_litserve.py"
IMAGE = NUCLEI / "images" / "0005.png"
SECONDS = 60
"""How long a server may take to start or to stop."""


def ask(url: str, data: bytes | None, kind: str = "image/png") -> tuple[int, Any]:
    """Status and JSON of an answer."""
    try:
        with urlopen(Request(url, data, {"Content-Type": kind}), timeout=SECONDS) as answer:
            return answer.status, json.load(answer)
    except HTTPError as error:
        return error.code, json.load(error)


def alive(group: int) -> bool:
    """Whether a process of a group still runs; one that ended and waits for its parent does not."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, of_group = stat.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(of_group) == group and state != "Z":
            return True
    return False


def wait_until(reached: Any, what: str) -> None:
    end = time.monotonic() + SECONDS
    while not reached():
        assert time.monotonic() < end, f"{what} took more than {SECONDS} seconds"
        time.sleep(0.2)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    """The address of the running example, and its process, which leads a group of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("server")
    command = [sys.executable, str(SCRIPT), "--port", str(port), "--threads", "1"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, start_new_session=True)
    url = f"http://127.0.0.1:{port}"

    def healthy() -> bool:
        assert process.poll() is None, (folder / "log").read_text()
        try:
            with urlopen(f"{url}/health", timeout=5) as answer:
                return bool(answer.status == 200)
        except (URLError, ConnectionError, TimeoutError):
            return False

    try:
        wait_until(healthy, "the start")
        yield url, process
    finally:
        if alive(process.pid):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_it_answers_what_the_engine_predicts(server: tuple[str, Any]) -> None:
    status, answer = ask(f"{server[0]}/predict", IMAGE.read_bytes())
    [expected] = engines.load(DEMO / "weights" / "refinemask-nuclei.safetensors", threads=1).predict([IMAGE])
    assert status == 200
    assert (answer["height"], answer["width"]) == (256, 256)
    assert len(expected) >= 10
    assert [each.pop("class_name") for each in answer["objects"]] == list(expected.class_names)
    assert answer["objects"] == expected.to_coco()


@pytest.mark.parametrize(
    ("data", "kind", "statuses", "reason"),
    [
        (b"no image", "image/png", {400}, "not an image of a known format"),
        (IMAGE.read_bytes()[:3000], "image/png", {400}, "truncated"),
        (b"", "image/png", {400, 422}, ""),
        (b'{"image": 1}', "application/json", {422}, "bytes"),
    ],
    ids=["text", "truncated", "empty", "json"],
)
def test_what_is_no_image_is_refused_and_the_next_one_answered(
    server: tuple[str, Any], data: bytes, kind: str, statuses: set[int], reason: str
) -> None:
    status, answer = ask(f"{server[0]}/predict", data, kind)
    assert status in statuses
    assert reason in json.dumps(answer)
    assert ask(f"{server[0]}/predict", IMAGE.read_bytes())[0] == 200


def test_ctrl_c_ends_every_process_of_it(server: tuple[str, "subprocess.Popen[bytes]"]) -> None:
    _, process = server
    process.send_signal(signal.SIGINT)
    assert process.wait(SECONDS) == 0
    wait_until(lambda: not alive(process.pid), "the end")


def test_help_shows_the_first_lines() -> None:
    done = subprocess.run([sys.executable, SCRIPT, "--help"], capture_output=True, text=True, check=True)
    assert "python examples/serve_with_litserve.py" in done.stdout
    assert "(default: 8000)" in done.stdout
