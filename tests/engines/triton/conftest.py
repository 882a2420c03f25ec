"""A real server with the tiny model, which the tests of this folder share."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from engines.triton import write_repository
from refinemask.bundled import PHOTOS
from tests.support.triton_reference import Reference, predicted_there
from tests.support.triton_server import Server, require_server, triton_server

WINDOW = "0 4095"


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """Image files of different kinds and sizes."""

    jpeg: Path
    png: Path
    small: Path
    deep: Path
    """Grey, of 12 bits."""

    @property
    def shallow(self) -> list[Path]:
        return [self.jpeg, self.png, self.small]


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Pictures:
    folder = tmp_path_factory.mktemp("pictures")
    photo = cv2.imread(str(next(iter(sorted(PHOTOS.rglob("*.jpg"))))))
    assert photo is not None
    found = Pictures(**{name: folder / file for name, file in
                        {"jpeg": "a.jpg", "png": "b.png", "small": "c.png", "deep": "d.png"}.items()})  # fmt: skip
    cv2.imwrite(str(found.jpeg), cv2.resize(photo, (160, 120)))
    cv2.imwrite(str(found.png), cv2.resize(photo, (100, 140)))
    cv2.imwrite(str(found.small), cv2.resize(photo, (70, 40)))
    grey = cv2.cvtColor(cv2.resize(photo, (90, 80)), cv2.COLOR_BGR2GRAY).astype(np.uint16) * 16
    cv2.imwrite(str(found.deep), grey)
    return found


@pytest.fixture(scope="session")
def served(tiny_files: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with the models ``tiny``, ``tiny_network``, ``windowed`` and ``openvino``."""
    require_server()
    repository = tmp_path_factory.mktemp("triton") / "repository"
    write_repository(tiny_files[1], repository, {"threads": 1}, network="python")
    write_repository(tiny_files[1], repository, {"threads": 1, "window": WINDOW}, name="windowed")
    write_repository(tiny_files[1], repository, {"threads": 1, "backend": "openvino"}, name="openvino")
    with triton_server(repository) as server:
        yield server


@pytest.fixture(scope="session")
def references(tiny_files: tuple[Path, Path], pictures: Pictures) -> list[Reference]:
    """What ``Engine.predict`` finds in the pictures of 8 bits."""
    found = predicted_there(tiny_files[1], pictures.shallow, threads=1)
    assert sum(len(each.counts) for each in found) > 5
    return found
