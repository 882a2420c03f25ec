"""A network on a real server, as an engine."""

import json
from pathlib import Path

import pytest

import refinemask
from engines.triton_client import NetworkEngine
from refinemask.bundled import NUCLEI
from refinemask.contract import InputError
from refinemask.data.images import read_image
from refinemask.data.transforms import preprocess
from refinemask.files import UserError
from tests.engines.triton_client.conftest import MODEL, NETWORK, Served
from tests.support.same_predictions import contents

PROTOCOLS = "http", "grpc"


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("batch_size", [1, 3])
def test_predictions_are_those_of_the_engine_byte_for_byte(served: Served, protocol: str, batch_size: int) -> None:
    engine = NetworkEngine(served.url(protocol))
    found = list(engine.predict(served.paths, batch_size=batch_size))
    assert contents(found) == contents(served.engine.predict(served.paths, batch_size=batch_size))
    engine.close()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_raw_outputs_are_those_of_the_engine(served: Served, protocol: str) -> None:
    engine = NetworkEngine(served.url(protocol), NETWORK)
    pixels = [read_image(path) for path in served.paths[:2]]
    batch = preprocess(pixels, engine.config.preprocessing, engine.canvas([each.shape[:2] for each in pixels]))
    found, expected = (each.infer(batch.images, batch.image_sizes) for each in (engine, served.engine))
    for name, array in expected._asdict().items():
        assert (getattr(found, name) == array).all(), name
    engine.close()


def test_it_has_the_bounds_of_the_file(served: Served) -> None:
    engine = NetworkEngine(served.url("http"))
    assert engine.bounds == served.engine.bounds
    with pytest.raises(InputError):
        engine.infer(read_image(served.paths[0]).transpose(2, 0, 1)[None], [[256, 256]])
    engine.close()


def test_a_model_that_takes_images_is_refused(served: Served) -> None:
    with pytest.raises(UserError, match="is none that is a bare network"):
        NetworkEngine(served.url("http"), MODEL)


def test_an_evaluation_over_the_wire_is_that_of_the_engine(served: Served, tmp_path: Path) -> None:
    data = json.loads((NUCLEI / "annotations" / "instances_val.json").read_text())
    # Nuclei, called by a name that the tiny model knows.
    first = {"id": served.engine.config.category_ids[0], "name": served.engine.config.class_names[0]}
    objects = [each | {"category_id": first["id"]} for each in data["annotations"]]
    annotations = tmp_path / "annotations.json"
    annotations.write_text(json.dumps(data | {"categories": [first], "annotations": objects}))
    engine = NetworkEngine(served.url("grpc"))
    for name, each in (("wire", engine), ("here", served.engine)):
        refinemask.evaluate(each, annotations, NUCLEI / "images", limit=4, resamples=0, results=tmp_path / name)
    assert len(json.loads((tmp_path / "here").read_text())) > 4
    assert (tmp_path / "wire").read_bytes() == (tmp_path / "here").read_bytes()
    engine.close()
