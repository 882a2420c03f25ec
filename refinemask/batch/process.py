"""One worker process, as the process that started it sees it. Imports no PyTorch."""

import os
import signal
import subprocess
import sys
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Thread
from typing import IO

from refinemask.batch.messages import Begun, Done, Finished, Message, Ready, Refused
from refinemask.batch.settings import WorkerSettings
from refinemask.files import UserError
from refinemask.foreign import one_line

CHILD = "refinemask.batch.child"
"""The module that the process runs."""
KEPT_BYTES = 1 << 13
"""Bytes that are kept of what a process printed last."""
SECONDS_TO_END = 10.0
"""How long a process that has nothing to do may take to end, and what it printed to arrive."""


class WorkerEndedError(Exception):
    """A worker process ended, or was ended, before it was done; the text is how."""


class WorkerProcess:
    """A process with an open model. It ends with this object's :meth:`close`, and with the process that made it."""

    def __init__(self, settings: WorkerSettings) -> None:
        """Start the process and wait until its model is open.

        Raises:
            UserError: the model cannot be opened so.
            WorkerEndedError: the process ended before.
        """
        self._timeout = settings.timeout
        self._connection, theirs = Pipe()
        # The kernel ends the process with the thread that started it, which therefore lives as long.
        self._starter = ThreadPoolExecutor(1, "refinemask-worker")
        with theirs:
            self._process = self._starter.submit(_start, theirs).result()
        assert self._process.stderr is not None
        self._printed = _LastBytes(self._process.stderr)
        try:
            self._send(settings)
            # A first start may compile for minutes, so it has no limit.
            answer = self._receive(None)
            if isinstance(answer, Refused):
                raise UserError(answer.reason)
            assert isinstance(answer, Ready)
        except BaseException:
            self.kill()
            raise
        self.engine = answer.engine
        """The engine and its precision, such as ``ONNX Runtime fp32``."""

    @property
    def pid(self) -> int:
        """Id of the process."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether the process has not ended."""
        return self._process.poll() is None

    def run(self, references: Sequence[str]) -> Generator[Begun | Done, None, None]:
        """Run some images; leaving the iteration before its end kills the process.

        Args:
            references: paths or URLs of images.

        Returns:
            That an image is begun, and what became of it, each in the order of the references, as it happens.

        Raises:
            WorkerEndedError: the process ended, or was killed because it said nothing for too long.
        """
        try:
            self._send(tuple(references))
            while not isinstance(message := self._receive(self._timeout), Finished):
                assert isinstance(message, Begun | Done)
                yield message
        except BaseException:
            self.kill()
            raise

    def close(self) -> None:
        """End the process in good order; some engines have temporary files."""
        self._connection.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(SECONDS_TO_END)
        self.kill()

    def kill(self) -> None:
        """End the process on the spot."""
        self._connection.close()
        self._process.kill()
        self._process.wait()
        self._printed.close()
        self._starter.shutdown()

    def _send(self, content: object) -> None:
        try:
            self._connection.send(content)
        except OSError as error:
            raise WorkerEndedError(self._how_it_ended()) from error

    def _receive(self, seconds: float | None) -> Message:
        try:
            if self._connection.poll(seconds):
                message: Message = self._connection.recv()
                return message
        except (EOFError, OSError) as error:
            raise WorkerEndedError(self._how_it_ended()) from error
        raise WorkerEndedError(f"no result for {seconds:g} s")

    def _how_it_ended(self) -> str:
        # A process that has closed its connection is about to end, or cannot.
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(SECONDS_TO_END)
        code = self._process.poll()
        if code is None:
            return "it closed its connection"
        if code == -signal.SIGKILL:
            return f"signal {-code}, SIGKILL, usually lack of memory"
        said = self._printed.last_line()
        how = f"exit code {code}" if code >= 0 else f"signal {-code}, {_name(-code)}"
        # After a signal, what was printed before is rarely about it; abort() is called by who has just said why.
        return f"{how}: {said}" if said and (code >= 0 or code == -signal.SIGABRT) else how


class _LastBytes:
    """Reads what a process prints, so that it never waits for a reader, and keeps the end of it."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self._kept = stream, b""
        self._thread = Thread(target=self._read, name="refinemask-worker-stderr", daemon=True)
        self._thread.start()

    def last_line(self) -> str:
        """The last line that says something; empty if none does."""
        self._thread.join(SECONDS_TO_END)
        lines = self._kept.decode(errors="replace").splitlines()
        return next((one_line(line) for line in reversed(lines) if line.strip()), "")

    def close(self) -> None:
        self._thread.join(SECONDS_TO_END)
        # A process that the worker process left behind may keep it open, and then the thread is still in it.
        if not self._thread.is_alive():
            self._stream.close()

    def _read(self) -> None:
        while block := os.read(self._stream.fileno(), KEPT_BYTES):
            self._kept = (self._kept + block)[-KEPT_BYTES:]


def _start(theirs: Connection) -> "subprocess.Popen[bytes]":
    root = str(Path(__file__).resolve().parents[2])
    handle = theirs.fileno()
    return subprocess.Popen(
        [sys.executable, "-m", CHILD, str(handle), str(os.getpid())],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        pass_fds=[handle],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))},
    )


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "of no name"
