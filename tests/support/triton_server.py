"""A real Triton server with the Python backend, as ``make triton-env`` installs it."""

import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from scripts.triton_server import command, environment, packages_of, variables

SECONDS_TO_START = 120
SECONDS_TO_END = 60


@dataclass(frozen=True, kw_only=True)
class Server:
    """A server that runs."""

    process: subprocess.Popen[bytes]
    http: str
    """Address of HTTP, such as ``127.0.0.1:8000``."""
    grpc: str
    """Address of gRPC."""
    metrics: str
    """Address of the metrics."""
    log: Path
    """What the server has printed."""

    def url(self, path: str) -> str:
        """The URL of a path below ``v2``, such as ``health/ready``."""
        return f"http://{self.http}/v2/{path}"


def require_server() -> Path:
    """The environment of the server; the test skips where there is none."""
    found = environment()
    if packages_of(found) is None:
        pytest.skip(f"there is no Triton server in {found}; install one: make triton-env")
    return found


def variables_of(found: Path) -> dict[str, str]:
    """The environment variables with which programs of that environment run this checkout's code."""
    packages = packages_of(found)
    assert packages is not None
    return variables(packages) | {"OMP_NUM_THREADS": "1"}


@contextmanager
def triton_server(
    repository: Path, *arguments: str, ready: bool = True, extra: dict[str, str] | None = None
) -> Iterator[Server]:
    """Run a server until the block ends; then it gets SIGTERM, and what does not end by that is killed.

    Args:
        repository: the model repository.
        arguments: further arguments of the server.
        ready: wait until all models are ready; otherwise until the server ends by itself, or answers.
        extra: further environment variables.
    """
    found = require_server()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="triton-")))
        http, grpc, metrics = _free_ports(3)
        log = folder / "log.txt"
        packages = packages_of(found)
        assert packages is not None
        words = [
            *command(packages, folder / "backends", repository),
            *("--http-address", "127.0.0.1", "--grpc-address", "127.0.0.1", "--metrics-address", "127.0.0.1"),
            *("--http-port", str(http), "--grpc-port", str(grpc), "--metrics-port", str(metrics)),
            *arguments,
        ]
        with open(log, "wb") as output:
            process = subprocess.Popen(
                words,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=variables_of(found) | (extra or {}),
                start_new_session=True,
            )
        stack.callback(_stop, process)
        addresses = [f"127.0.0.1:{port}" for port in (http, grpc, metrics)]
        server = Server(process=process, http=addresses[0], grpc=addresses[1], metrics=addresses[2], log=log)
        _wait(server, "health/ready" if ready else "health/live", must_run=ready)
        yield server


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(closing(socket.socket())) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _wait(server: Server, health: str, *, must_run: bool) -> None:
    deadline = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            if not must_run:
                return
            pytest.fail(f"the server ended with {server.process.returncode}\n{server.log.read_text()[-6000:]}")
        try:
            with urllib.request.urlopen(server.url(health), timeout=2):
                return
        except (OSError, urllib.error.URLError):
            time.sleep(0.05)
    pytest.fail(f"the server is not ready after {SECONDS_TO_START} s\n{server.log.read_text()[-6000:]}")


def _stop(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(SECONDS_TO_END)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
