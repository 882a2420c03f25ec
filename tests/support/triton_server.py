"""A real Triton server with the Python backend, as ``make triton-env`` installs it."""

import os
import shutil
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

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = "TRITON_ENV"
"""Environment variable with the environment of the server; without it ``.venv-triton`` of the checkout."""
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


def environment() -> Path:
    """The environment of the server, which need not be there."""
    return Path(os.environ.get(ENVIRONMENT, ROOT / ".venv-triton"))


def require_server() -> Path:
    """The environment of the server; the test skips where there is none."""
    found = environment()
    if not _packages(found):
        pytest.skip(f"there is no Triton server in {found}; install one: make triton-env")
    return found


def variables_of(found: Path) -> dict[str, str]:
    """The environment variables with which programs of that environment run this checkout's code."""
    packages = _packages(found)
    assert packages is not None
    return os.environ | {
        # The code of this checkout, whichever one the environment was made for.
        "PYTHONPATH": f"{ROOT}{os.pathsep}{packages}",
        "PATH": f"{found / 'bin'}{os.pathsep}{os.environ['PATH']}",
        # The stub finds its libraries by this alone.
        "LD_LIBRARY_PATH": str(packages / "nvidia_pytriton.libs"),
        "OMP_NUM_THREADS": "1",
    }


@contextmanager
def triton_server(
    repository: Path, *arguments: str, ready: bool = True, variables: dict[str, str] | None = None
) -> Iterator[Server]:
    """Run a server until the block ends; then it gets SIGTERM, and what does not end by that is killed.

    Args:
        repository: the model repository.
        arguments: further arguments of the server.
        ready: wait until all models are ready; otherwise until the server ends by itself, or answers.
        variables: further environment variables.
    """
    found = require_server()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="triton-")))
        http, grpc, metrics = _free_ports(3)
        log = folder / "log.txt"
        command = [
            str(_server_files(found) / "bin" / "tritonserver"),
            *("--model-repository", str(repository), "--backend-directory", str(_backends(found, folder))),
            *("--http-address", "127.0.0.1", "--grpc-address", "127.0.0.1", "--metrics-address", "127.0.0.1"),
            *("--http-port", str(http), "--grpc-port", str(grpc), "--metrics-port", str(metrics)),
            *arguments,
        ]
        with open(log, "wb") as output:
            process = subprocess.Popen(
                command,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=variables_of(found) | (variables or {}),
                start_new_session=True,
            )
        stack.callback(_stop, process)
        addresses = [f"127.0.0.1:{port}" for port in (http, grpc, metrics)]
        server = Server(process=process, http=addresses[0], grpc=addresses[1], metrics=addresses[2], log=log)
        _wait(server, "health/ready" if ready else "health/live", must_run=ready)
        yield server


def _packages(found: Path) -> Path | None:
    """The folder of the environment's packages, if the server is among them."""
    return next((each.parent for each in found.glob("lib/python3.*/site-packages/pytriton")), None)


def _server_files(found: Path) -> Path:
    packages = _packages(found)
    assert packages is not None
    return packages / "pytriton" / "tritonserver"


def _backends(found: Path, folder: Path) -> Path:
    """A folder with the Python backend, beside the stub of the environment's Python."""
    files, packages = _server_files(found), _packages(found)
    assert packages is not None
    version = packages.parent.name.removeprefix("python")
    backends = folder / "backends"
    shutil.copytree(files / "backends" / "python", backends / "python")
    shutil.copy2(files / "python_backend_stubs" / version / "triton_python_backend_stub", backends / "python")
    return backends


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
