"""The connections that a client keeps, and those that it does not."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from engines.triton_client import NetworkEngine, ServerError, TritonClient
from engines.triton_client.connection import Connection
from engines.triton_client.connections import Connections
from engines.triton_client.errors import LostConnectionError
from refinemask.files import UserError
from tests.engines.triton_client.conftest import Served
from tests.support.processes import needs_proc
from tests.support.same_predictions import contents

pytest.importorskip("tritonclient")
PROTOCOLS = "http", "grpc"


class Asked:
    """What is asked by connections, and with which it fails first."""

    def __init__(self, *failures: Exception | None) -> None:
        self.connections: list[Connection] = []
        self.threads: list[int] = []
        self._failures = list(failures)

    def __call__(self, connection: Connection) -> int:
        self.connections.append(connection)
        self.threads.append(threading.get_ident())
        failure = self._failures.pop(0) if self._failures else None
        if failure is not None:
            raise failure
        return len(self.connections)


@pytest.fixture(params=PROTOCOLS)
def connections(request: pytest.FixtureRequest) -> Connections:
    return Connections(f"{request.param}://127.0.0.1:1", 1, 2)


def test_a_connection_is_used_again_by_its_own_thread(connections: Connections) -> None:
    asked = Asked(None, UserError("an image at fault"))
    assert connections.do(asked) == 1
    with pytest.raises(UserError, match="an image at fault"):
        connections.do(asked)
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(connections.do, asked).result() == 3
    assert len(set(asked.connections)) == len(set(asked.threads)) == 1
    connections.close()


def test_one_that_ended_while_it_was_idle_is_replaced(connections: Connections) -> None:
    asked = Asked(None, LostConnectionError("the server was restarted"))
    assert [connections.do(asked), connections.do(asked)] == [1, 3]
    assert asked.connections[0] is asked.connections[1] is not asked.connections[2]
    connections.close()


def test_a_new_one_that_ends_is_an_error(connections: Connections) -> None:
    asked = Asked(LostConnectionError("nobody is there"))
    with pytest.raises(LostConnectionError, match="nobody is there"):
        connections.do(asked)
    assert len(asked.connections) == 1


def test_one_by_which_an_answer_may_come_late_is_not_used_again(connections: Connections) -> None:
    asked = Asked(None, ServerError("no answer within 1 s"))
    connections.do(asked)
    with pytest.raises(ServerError, match="no answer"):
        connections.do(asked)
    connections.do(asked)
    assert asked.connections[0] is asked.connections[1] is not asked.connections[2]
    connections.close()


def test_there_are_no_more_than_requests_in_flight(connections: Connections) -> None:
    both = threading.Barrier(2)
    asked = Asked()

    def ask(connection: Connection) -> None:
        asked(connection)
        both.wait(30)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(connections.do, [ask] * 6))
    assert len(asked.connections) == 6
    assert len(set(asked.connections)) == 2
    connections.close()


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


@needs_proc
def test_images_one_by_one_leave_no_connection_open(served: Served) -> None:
    # That of gRPC keeps some files of the process, whatever the number of clients.
    before = open_files()
    with TritonClient(served.url("http"), requests=2) as client:
        engine = NetworkEngine(served.url("http"))
        for _ in range(10):
            for detector in (client, engine):
                assert contents(detector.predict(served.paths[:1])) == contents(served.expected[:1])
        # Of each connection: a socket, and two files of gevent's loop.
        assert open_files() <= before + 2 * 3 + 3
        engine.close()
    assert open_files() <= before
    with pytest.raises(UserError, match="no model 'none'"):
        TritonClient(served.url("http"), "none")
    assert open_files() <= before
