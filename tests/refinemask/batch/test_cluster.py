"""A cluster of this process alone leaves nothing behind; one that is not there is said at once."""

import socket
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ray")

from refinemask.batch import cluster
from refinemask.batch.cluster import Pool, connected
from refinemask.files import UserError


def folder_of_logs() -> Path:
    import ray

    node: Any = ray._private.worker._global_node
    return Path(node.get_session_dir_path())


def fail_on_ray(folders: list[Path]) -> None:
    with connected(Pool(least=1, most=1), None):
        folders.append(folder_of_logs())
        raise UserError("the job failed")


@pytest.mark.slow
def test_logs_of_ray_are_kept_after_an_error_alone() -> None:
    with connected(Pool(least=1, most=1), None):
        folder = folder_of_logs()
        assert folder.is_dir()
    assert not folder.exists()
    folders: list[Path] = []
    with pytest.raises(UserError, match="the job failed"):
        fail_on_ray(folders)
    assert folders[0].is_dir()


@pytest.mark.parametrize("given", ["address", "environment"])
def test_an_address_where_nothing_listens_is_one_line(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "PATIENCE", 0.0)
    with socket.create_server(("", 0)) as server:
        port = server.getsockname()[1]
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{port}")
    address = f"127.0.0.1:{port}" if given == "address" else "auto"
    with (
        pytest.raises(UserError, match=rf"^--address {address}: cannot be reached: no Ray answers at .*:{port}"),
        connected(Pool(), address),
    ):
        pass


def test_a_cluster_that_refuses_the_connection_may_ask_for_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    def init(address: str, **others: Any) -> None:
        raise ConnectionError("failed to connect")

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with socket.create_server(("", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        why = f"{address}: cannot be reached: failed to connect; if that cluster asks for a token, set RAY_AUTH_MODE"
        with pytest.raises(UserError, match=why), connected(Pool(), address):
            pass


def test_a_word_of_ray_that_is_no_address_is_refused() -> None:
    with pytest.raises(UserError, match="expected auto or HOST:PORT"), connected(Pool(), "local"):
        pass


@pytest.mark.parametrize(
    ("pool", "cpus"),
    [
        (Pool(), 5),
        (Pool(least=7, most=7), 8),
        (Pool(least=1, most=16), 5),
        (Pool(least=6, most=16), 7),
        (Pool(least=1, most=16, cpus=3), 4),
    ],
)
def test_a_range_takes_no_more_than_this_machine_has(pool: Pool, cpus: int, monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    class AskedError(RuntimeError):
        pass

    def init(address: str, *, num_cpus: int, **others: Any) -> None:
        raise AskedError(f"{address} {num_cpus}")

    monkeypatch.setattr(cluster, "processors", lambda: 4)
    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with pytest.raises(UserError, match=f"local {cpus}$"), connected(pool, None):
        pass
