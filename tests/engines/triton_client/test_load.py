"""A real server under what clients do to it: many at once, nonsense, hanging up, SIGTERM, ten thousand requests."""

import json
import signal
import socket
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engines.triton.interface import IMAGE
from engines.triton_client import TritonClient
from engines.triton_client.address import Address
from engines.triton_client.connection import Connection
from engines.triton_client.connections import Connections
from refinemask.bundled import PHOTO
from tests.engines.triton_client.conftest import MODEL, Served
from tests.support.bad_requests import bad_requests, good_request
from tests.support.processes import needs_proc, session, wait_until
from tests.support.same_predictions import content, contents
from tests.support.triton_server import Server, triton_server

PROTOCOLS = "http", "grpc"
GROWTH = 32
"""MiB by which the processes may grow from the 5,000th to the 10,000th request: what allocators leave in pieces."""


@pytest.mark.parametrize("clients", [1, 4, 16])
def test_clients_at_once_get_what_the_engine_gives(served: Served, clients: int) -> None:
    def ask(number: int) -> bool:
        # Each begins at another image.
        order = list(islice(cycle(range(len(served.paths))), number, number + 2 * len(served.paths)))
        with TritonClient(served.url(PROTOCOLS[number % 2]), requests=1) as client:
            found = contents(client.predict([served.paths[index] for index in order]))
        return found == contents(served.expected[index] for index in order)

    with ThreadPoolExecutor(clients) as pool:
        assert all(pool.map(ask, range(clients)))


def test_requests_at_once_are_put_together(served: Served) -> None:
    counter = Connection(Address.parse(served.url("http")), 60)
    before = counter.counts(MODEL)
    with TritonClient(served.url("grpc"), requests=16) as client:
        found = contents(client.predict(served.paths * 16))
    images, executions = (now - then for now, then in zip(counter.counts(MODEL), before, strict=True))
    assert found == contents(served.expected * 16)
    assert images == len(found)
    assert executions < images


def post(server: Server, body: bytes) -> tuple[int, dict[str, object]]:
    """The status and the JSON that a server answers."""
    request = urllib.request.Request(server.url(f"models/{MODEL}/infer"), body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def require_right(served: Served) -> None:
    """The next good request is answered right, by both protocols."""
    for protocol in PROTOCOLS:
        with TritonClient(served.url(protocol)) as client:
            assert contents(client.predict(served.paths[:1])) == contents(served.expected[:1])


@pytest.mark.parametrize("number", [50, pytest.param(1000, marks=pytest.mark.slow)])
def test_bad_requests_are_refused_one_by_one(served: Served, number: int) -> None:
    picture = served.paths[0].read_bytes()
    good = post(served.server, good_request(picture))
    assert good[0] == 200
    tried = 0
    for name, body in bad_requests(number, picture, PHOTO.read_bytes()):
        status, answer = post(served.server, body)
        assert 400 <= status < 500, (name, status, answer)
        assert str(answer["error"]), name
        tried += 1
        if tried % 10 == 0:
            assert post(served.server, good_request(picture)) == good
    assert tried == number
    assert served.server.process.poll() is None
    require_right(served)


def test_clients_that_hang_up_leave_the_server_well(served: Served) -> None:
    host, port = served.server.http.split(":")
    body = good_request(served.paths[0].read_bytes())
    head = f"POST /v2/models/{MODEL}/infer HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    for number in range(20):
        # In the head, in the body, and before the answer.
        sent = (head + body)[: (len(head) // 2, len(head) + len(body) // 2, len(head) + len(body))[number % 3]]
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(sent)
    require_right(served)


def pending(server: Server) -> int:
    """Requests that the model has not begun to compute."""
    with urllib.request.urlopen(f"http://{server.metrics}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    name = "nv_inference_pending_request_count"
    [value] = [line.rpartition(" ")[2] for line in lines if line.startswith(f'{name}{{model="{MODEL}"')]
    return int(float(value))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_at_sigterm_the_requests_in_flight_are_answered(served: Served, repository: Path, protocol: str) -> None:
    requests, images = 6, 16
    order = [index % len(served.paths) for index in range(images)]
    files = np.array([[served.paths[index].read_bytes()] for index in order], dtype=object)
    with triton_server(repository) as server, ThreadPoolExecutor(requests) as pool:
        connections = Connections(f"{protocol}://{getattr(server, protocol)}", 60, requests)

        def ask(_: int) -> dict[str, NDArray[Any]]:
            return connections.do(Connection.infer, MODEL, {IMAGE: files}, ("count", "scores"))

        answers = [pool.submit(ask, number) for number in range(requests)]
        # No two go together, so one is computed while all others wait.
        assert wait_until(lambda: pending(server) == requests - 1)
        server.process.send_signal(signal.SIGTERM)
        found = [answer.result() for answer in answers]
        # The server waits for connections of HTTP that are open.
        connections.close()
        assert server.process.wait(60) == 0
    for each in found:
        assert each["count"][:, 0].tolist() == [len(served.expected[index]) for index in order]
        for scores, index in zip(each["scores"], order, strict=True):
            assert scores[: len(served.expected[index])].tobytes() == served.expected[index].scores.tobytes()


def resident_mib(server: Server) -> float:
    """Memory of the server and of the processes of its models."""
    total = 0
    for pid in session(server.process.pid):
        status = Path(f"/proc/{pid}/status").read_text()
        total += sum(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))
    return total / 1024


@needs_proc
@pytest.mark.slow
def test_memory_does_not_grow_over_10000_requests(served: Served) -> None:
    memory = [resident_mib(served.server)]
    expected = contents(served.expected)
    with TritonClient(served.url("grpc"), requests=8) as client:
        for _ in range(10):
            for index, found in enumerate(client.predict(islice(cycle(served.paths), 1000))):
                assert content(found) == expected[index % len(expected)]
            memory.append(resident_mib(served.server))
    print("MiB after each thousand requests:", *(f"{each:.0f}" for each in memory))
    assert memory[10] - memory[5] < GROWTH, memory
