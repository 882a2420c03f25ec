"""The client against a real server."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from engines.triton.interface import RESPONSES, Response
from engines.triton_client import RefusedRequestError, ServerError, TritonClient
from engines.triton_client.__main__ import Args, main
from refinemask.data.images import read_image
from refinemask.files import UserError
from refinemask.sources.words import source_of
from tests.engines.triton_client.conftest import MODEL, NETWORK, Served
from tests.support.same_predictions import content, contents

PROTOCOLS = "http", "grpc"


@pytest.mark.parametrize("response", RESPONSES)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_predictions_are_those_of_the_engine_byte_for_byte(served: Served, protocol: str, response: Response) -> None:
    with TritonClient(served.url(protocol), response=response) as client:
        found = list(client.predict(served.paths))
    assert contents(found) == contents(served.expected)
    assert [each.path for each in found] == served.paths
    assert found[0].class_names == served.expected[0].class_names


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_pixels_are_predicted_as_files_are(served: Served, protocol: str) -> None:
    path = served.paths[0]
    with TritonClient(served.url(protocol)) as client:
        found = list(client.predict([read_image(path), Image.open(path).convert("RGB")]))
    assert contents(found) == contents([served.expected[0]] * 2)


def test_the_configuration_is_that_of_the_engine(served: Served) -> None:
    with TritonClient(served.url("http"), MODEL) as client:
        assert client.config == served.engine.config
        assert client.served.settings.precision == served.engine.precision
        assert client.served.bounds == served.engine.bounds


def test_a_higher_threshold_leaves_the_higher_scores(served: Served) -> None:
    threshold = float(np.median(np.concatenate([each.scores for each in served.expected])))
    with TritonClient(served.url("http"), score_threshold=threshold) as client:
        found = list(client.predict(served.paths))
    above = [each.select(min_score=float(np.nextafter(np.float32(threshold), 2))) for each in served.expected]
    assert contents(found) == contents(above)
    assert 0 < sum(map(len, found)) < sum(map(len, served.expected))


@pytest.mark.parametrize("threshold", [0.1, 1.5, float("nan")])
def test_a_threshold_that_the_model_does_not_take_fails_before_any_image(served: Served, threshold: float) -> None:
    with pytest.raises(UserError, match=r"model 'tiny': --score-threshold is .*; expected 0\.7, its own, to 1"):
        TritonClient(served.url("http"), score_threshold=threshold)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_bad_image_fails_alone(served: Served, protocol: str, tmp_path: Path) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(served.paths[0].read_bytes()[:500])
    with TritonClient(served.url(protocol)) as client:
        results = list(client.stream(source_of([served.paths[0], bad, served.paths[1]])))
        assert [result.error is None for result in results] == [True, False, True]
        assert isinstance(results[1].error, RefusedRequestError)
        assert str(bad) in str(results[1].error)
        assert "\n" not in str(results[1].error)
        iteration = client.predict([served.paths[0], bad])
        assert content(next(iteration)) == content(served.expected[0])
        with pytest.raises(RefusedRequestError):
            next(iteration)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_request_of_more_than_4_mb_goes_through(served: Served, protocol: str, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (1500, 1500, 3), np.uint8)
    path = tmp_path / "large.png"
    cv2.imwrite(str(path), noise)
    assert path.stat().st_size > 4 << 20
    with TritonClient(served.url(protocol)) as client:
        [found] = client.predict([path])
    assert contents([found]) == contents(served.engine.predict([path]))


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("model", "expected"),
    [("tinny", "no model 'tinny' is ready; the server has tiny, tiny_network"), (NETWORK, "is none that takes images")],
)
def test_another_model_is_refused_by_name(served: Served, protocol: str, model: str, expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        TritonClient(served.url(protocol), model)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_answer_that_is_late_ends_the_iteration(served: Served, protocol: str) -> None:
    with TritonClient(served.url(protocol)) as client:
        client._connections._timeout = 0.001
        client._connections.close()
        with pytest.raises(ServerError, match=r"no answer within 0.001 s.*--timeout"):
            list(client.predict(served.paths))


def command(served: Served, tmp_path: Path, protocol: str = "http") -> Args:
    return Args(url=served.url(protocol), images=tuple(served.paths[:2]), output=tmp_path / "out")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_command_prints_draws_and_writes(
    served: Served, protocol: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("supervision")
    assert main(command(served, tmp_path, protocol)) == 0
    lines = capsys.readouterr()
    assert [line.partition(":")[0] for line in lines.out.splitlines()] == [str(path) for path in served.paths[:2]]
    assert "2 of 2 images predicted" in lines.err
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"results.json", *(f"{path.stem}.png" for path in served.paths[:2])}
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [result["score"] for result in results] == [
        score for each in served.expected[:2] for score in each.scores.tolist()
    ]


def test_the_command_writes_lines_of_json(served: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(replace(command(served, tmp_path), output=None, json_lines="-")) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["image"] for line in lines] == [str(path) for path in served.paths[:2]]
    assert [len(line["detections"]) for line in lines] == [len(each) for each in served.expected[:2]]


def test_the_command_skips_what_fails_and_says_why(
    served: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"\x89PNG\r\n\x1a\n")
    args = replace(command(served, tmp_path), output=None)
    assert main(replace(args, images=(bad, served.paths[0]))) == 0
    assert f"skipped: {bad}: " in capsys.readouterr().err
    assert main(replace(args, images=(bad,))) == 2
    assert main(replace(args, images=(bad, tmp_path / "missing.png"))) == 1


def test_the_command_spares_its_inputs(served: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "out" / "picture.png"
    picture.parent.mkdir()
    picture.write_bytes(served.paths[0].read_bytes())
    assert main(replace(command(served, tmp_path), images=(picture,))) == 2
    assert "would be overwritten" in capsys.readouterr().err
    assert picture.read_bytes() == served.paths[0].read_bytes()
