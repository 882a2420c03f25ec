"""A server with the tiny model, and the same model in this process."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import engines
from engines import Engine
from engines.triton import write_repository
from refinemask.bundled import NUCLEI
from refinemask.prediction import Prediction
from tests.support.triton_server import Server, require_server, triton_server

MODEL, NETWORK = "tiny", "tiny_network"


class Served(NamedTuple):
    """A server, and what it must answer."""

    server: Server
    repository: Path
    engine: Engine
    """The served model in this process."""
    paths: list[Path]
    """Image files: PNG, which all versions of OpenCV decode alike."""
    expected: list[Prediction]
    """What is in each of them."""

    def url(self, protocol: str) -> str:
        """The server's address by ``http`` or ``grpc``."""
        return f"{protocol}://{getattr(self.server, protocol)}"


@pytest.fixture(scope="session")
def repository(tiny_files: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    require_server()
    folder = tmp_path_factory.mktemp("triton") / "repository"
    write_repository(tiny_files[1], folder, {"threads": 1}, name=MODEL, network="python")
    return folder


@pytest.fixture(scope="module")
def served(repository: Path, tiny_files: tuple[Path, Path]) -> Iterator[Served]:
    paths = sorted((NUCLEI / "images").iterdir())[:6]
    engine = engines.load(tiny_files[1], threads=1)
    expected = list(engine.predict(paths))
    assert sum(map(len, expected)) > len(paths)
    with triton_server(repository) as server:
        yield Served(server, repository, engine, paths, expected)
