"""What a repository says of a model, as clients read it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from engines.canvases import Canvases
from engines.triton import Deployment, write_repository
from engines.triton_client.address import Address
from engines.triton_client.connection import Connection
from engines.triton_client.errors import ServerError
from engines.triton_client.served import ServedModel, find_front
from refinemask.contract import Bounds, Metadata
from refinemask.files import UserError
from tests.support.compiled_packages import LANDSCAPE, PORTRAIT, made_up_package
from tests.support.tiny_detector import TINY
from tests.support.triton_config import parse_config


def written(model: Path, repository: Path, deployment: Deployment | None = None, **settings: Any) -> Any:
    """The configuration of the bare network, as a server reads it."""
    name = write_repository(model, repository, settings, deployment, network="python").network
    return parse_config((repository / str(name) / "config.pbtxt").read_text())


def read(config: Any) -> ServedModel:
    json_format = pytest.importorskip("google.protobuf.json_format")
    return ServedModel.of_config(config.name, json_format.MessageToDict(config, preserving_proto_field_name=True))


def test_limits_of_a_file(tiny_files: tuple[Path, Path], tmp_path: Path) -> None:
    served = read(written(tiny_files[1], tmp_path / "r", threads=1))
    assert served.is_network
    assert served.bounds == Metadata.of_file(tiny_files[1]).bounds


def test_canvases_of_a_compiled_package(tmp_path: Path) -> None:
    sidecar = made_up_package(tmp_path / "tiny.pt2", "cuda", target="9.0")
    config = written(tmp_path / "tiny.pt2", tmp_path / "r", device="cuda")
    assert config.max_batch_size == sidecar.batch
    assert list(config.input[0].dims) == [3, -1, -1]
    assert tuple(config.model_warmup[0].inputs["images"].dims[1:]) == LANDSCAPE
    served = read(config)
    assert served.bounds == sidecar.canvases
    assert served.bounds.canvas(80, 50) == PORTRAIT
    assert served.config == TINY


def test_a_full_batch_is_no_more_than_the_server_takes(tiny_files: tuple[Path, Path], tmp_path: Path) -> None:
    few = Deployment(max_batch=1)
    made_up_package(tmp_path / "package.pt2", "cuda", target="9.0")
    package = read(written(tmp_path / "package.pt2", tmp_path / "r", few, device="cuda"))
    assert isinstance(package.bounds, Canvases)
    assert package.bounds.batch == 2
    assert package.request_bounds == replace(package.bounds, batch=1)
    file = read(written(tiny_files[1], tmp_path / "r", few, threads=1))
    assert isinstance(file.bounds, Bounds)
    least_of_2 = replace(file, bounds=replace(file.bounds, batch=(2, 4, 8)))
    assert least_of_2.request_bounds == replace(file.bounds, batch=(1, 1, 8))
    # The server does not look at batches there.
    assert replace(least_of_2, max_batch=0).request_bounds == least_of_2.bounds


def test_a_batch_beyond_the_package(tmp_path: Path) -> None:
    made_up_package(tmp_path / "tiny.pt2", "cuda", target="9.0")
    with pytest.raises(UserError, match="images have batch 3"):
        write_repository(tmp_path / "tiny.pt2", tmp_path / "r", {"device": "cuda", "batch_size": 3})


def test_canvases_that_are_none(tmp_path: Path) -> None:
    made_up_package(tmp_path / "tiny.pt2", "cuda", target="9.0")
    config = written(tmp_path / "tiny.pt2", tmp_path / "r", device="cuda")
    config.parameters["canvases"].string_value = json.dumps({"batch": 1, "sizes": [[64, 100]]})
    with pytest.raises(UserError, match="canvas 64x100: expected multiples of 32"):
        read(config)


class Unanswered:
    """A connection by which the list of models came, and nothing more."""

    address = Address.parse("http://127.0.0.1:8000")

    def models(self) -> list[str]:
        return ["tiny"]

    def config(self, name: str) -> Any:
        raise ServerError(f"{self.address}: no answer within 1 s")


def test_a_server_that_does_not_answer_is_not_blamed_on_the_model() -> None:
    with pytest.raises(ServerError, match=r"^http://127\.0\.0\.1:8000: no answer within 1 s$"):
        find_front(cast(Connection, Unanswered()), "tiny")
