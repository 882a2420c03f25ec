"""Reading from files, web servers and stores, and folders whose files are written whole."""

import os
import resource
import signal
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

fsspec = pytest.importorskip("fsspec")
pytest.importorskip("pyarrow")

from refinemask.batch import storage  # noqa: E402
from refinemask.batch.storage import Folder, read_bytes, shown  # noqa: E402
from refinemask.files import UserError  # noqa: E402


class Server(ThreadingHTTPServer):
    """A web server on a port of its own, which counts what it was asked for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    """Busy twice at ``/busy``, broken off at ``/short``, a file elsewhere."""

    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        busy = self.path == "/busy" and self.server.asked.count("/busy") < 3
        code = 503 if busy else 404 if self.path.startswith("/gone") else 200
        self.send_response(code)
        self.send_header("Content-Length", "9" if self.path == "/short" else "4")
        self.end_headers()
        self.wfile.write(b"data")

    def log_message(self, *words: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(storage, "PAUSES", (0.0, 0.0))
    with Server() as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_web_server_is_read_and_asked_again_while_it_is_busy(server: Server) -> None:
    assert read_bytes(f"{server.url}/a b.png?key=1") == b"data"
    assert server.asked == ["/a%20b.png?key=1"]
    assert read_bytes(f"{server.url}/busy") == b"data"
    assert server.asked.count("/busy") == 3


def test_what_a_web_server_has_not_is_asked_for_once(server: Server) -> None:
    with pytest.raises(UserError, match=r"/gone: cannot be read: 404"):
        read_bytes(f"{server.url}/gone?secret=1")
    assert server.asked == ["/gone?secret=1"]


def test_a_broken_answer_and_a_server_that_is_none_are_errors(server: Server) -> None:
    with pytest.raises(UserError, match="/short: cannot be read"):
        read_bytes(f"{server.url}/short")
    with pytest.raises(UserError, match=r"cannot be read.*refused"):
        read_bytes("http://127.0.0.1:9/a.png")


def test_what_is_too_large_is_not_read_to_its_end(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "LARGEST", 3)
    with pytest.raises(UserError, match="larger than 3 bytes"):
        read_bytes(f"{server.url}/a.png")


def test_secrets_of_an_address_are_not_shown() -> None:
    assert shown("https://user:word@host/a/b.png?signature=1") == "https://host/a/b.png"
    assert shown("s3://bucket/a?b.png") == "s3://bucket/a?b.png"
    assert shown("/a/b?c.png") == "/a/b?c.png"


@pytest.fixture(params=["path", "file", "store"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Folder]:
    if request.param == "store":
        yield Folder("memory://job/of mine")
        files = fsspec.filesystem("memory")
        if files.exists("/job"):
            files.rm("/job", recursive=True)
    else:
        yield Folder(str(tmp_path / "of mine") if request.param == "path" else (tmp_path / "of mine").as_uri())


def test_a_folder_keeps_what_is_put(folder: Folder) -> None:
    assert folder.names("a") == []
    assert folder.read("a/x") is None
    folder.put("a/x", b"1")
    folder.put("a/x", b"22")
    folder.put("a/y", b"")
    assert folder.names("a") == ["x", "y"]
    assert folder.read("a/x") == b"22"
    folder.remove("a/x")
    assert folder.names("a") == ["y"]


def test_a_web_server_is_no_folder_for_results() -> None:
    with pytest.raises(UserError, match="takes no results"):
        Folder("https://host/results")


def test_what_could_not_be_written_is_not_there(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path))
    folder.put("x", b"old")
    limits, ignored = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(UserError, match="x: cannot be written: File too large"):
            folder.put("x", bytes(2000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert os.listdir(tmp_path) == ["x"]
    assert folder.read("x") == b"old"
