"""What a user reads where there is no server, or another one."""

import socket
import threading
from collections.abc import Iterator

import pytest

from engines.triton_client import ServerError, TritonClient
from engines.triton_client.address import Address
from engines.triton_client.errors import told_by_server
from refinemask.files import UserError

pytest.importorskip("tritonclient")


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def other() -> Iterator[int]:
    """The port of a server that is no Triton: it answers every request with a page."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(65536)
                    connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 6\r\n\r\n<html>")

        threading.Thread(target=answer, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_without_a_server_one_line_says_so(protocol: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        with pytest.raises(ServerError, match="no Triton server answers") as caught:
            TritonClient(f"{protocol}://127.0.0.1:{free.getsockname()[1]}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_server_that_says_nothing_is_given_up_in_time(protocol: str, silent: int) -> None:
    with pytest.raises(ServerError, match=r"no answer within 0\.5 s|no Triton server answers"):
        TritonClient(f"{protocol}://127.0.0.1:{silent}", timeout=0.5)


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_server_that_is_no_triton_is_one_line(protocol: str, other: int) -> None:
    with pytest.raises(UserError, match=f"{protocol}://127.0.0.1:{other}: ") as caught:
        TritonClient(f"{protocol}://127.0.0.1:{other}", timeout=5)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "expected"),
    [({"requests": 0}, "--requests is 0"), ({"timeout": 0.0}, "--timeout is 0"), ({"response": "png"}, "is 'png'")],
)
def test_impossible_options_are_refused_before_anything_is_sent(options: dict[str, object], expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        TritonClient("http://127.0.0.1:1", **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(("protocol", "status"), [("http", "500"), ("grpc", "StatusCode.INTERNAL")])
def test_a_model_whose_process_has_ended_refuses_more_than_one_request(protocol: str, status: str) -> None:
    from tritonclient.utils import InferenceServerException

    ended = InferenceServerException("Stub process 'tiny_0_0' is not healthy.", status)
    error = told_by_server(Address.parse(f"{protocol}://a"), ended, 1)
    assert isinstance(error, ServerError)
    assert "the model's process has ended; restart the server" in str(error)
