"""The front model in a real server: its answers are those of ``Engine.predict``, byte for byte."""

import base64
import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from queue import Queue
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from engines.triton.interface import OUTPUTS
from refinemask.masks import decode
from tests.engines.triton.conftest import WINDOW, Pictures
from tests.support.markdown_pages import ROOT
from tests.support.triton_reference import Reference, predicted_there
from tests.support.triton_requests import Reply, array_input, ask, image_input, text_input
from tests.support.triton_server import Server


def assert_same(reply: Reply, references: list[Reference]) -> None:
    """Every bit of the answer is that of the reference; places without an object hold nothing."""
    assert reply.error == ""
    found, most = reply.outputs, max(len(each.counts) for each in references)
    assert found.keys() == OUTPUTS.keys()
    assert found["boxes"].shape == (len(references), most, 4)
    for row, reference in enumerate(references):
        count = len(reference.counts)
        assert found["count"][row].tolist() == [count]
        assert found["image_size"][row].tolist() == reference.size
        assert found["boxes"][row, :count].tobytes() == reference.boxes.tobytes()
        assert found["scores"][row, :count].tobytes() == reference.scores.tobytes()
        assert found["labels"][row, :count].tolist() == reference.labels
        assert [name.decode() for name in found["class_names"][row, :count]] == reference.class_names
        assert found["segmentations"][row, :count].tolist() == reference.counts
        assert not found["boxes"][row, count:].any()
        assert not found["scores"][row, count:].any()
        assert set(found["labels"][row, count:].tolist()) <= {-1}
        assert {*found["class_names"][row, count:], *found["segmentations"][row, count:]} <= {b""}


def pixels_of(path: Path) -> NDArray[np.uint8]:
    image = cv2.imread(str(path))
    assert image is not None
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB).astype(np.uint8)


def binary(server: Server, tensor: str, array: NDArray[Any], kind: str, **parameters: Any) -> Any:
    """Ask by the client's library, in binary."""
    client = pytest.importorskip("tritonclient.http")
    given = client.InferInput(tensor, list(array.shape), kind)
    given.set_data_from_numpy(array)
    with client.InferenceServerClient(server.http) as connection:
        return connection.infer("tiny", [given], parameters=parameters or None)


@pytest.mark.parametrize("number", [0, 1, 2], ids=["jpeg", "png", "small"])
def test_one_image(number: int, served: Server, pictures: Pictures, references: list[Reference]) -> None:
    reply = ask(served, "tiny", [image_input(pictures.shallow[number].read_bytes())])
    assert_same(reply, [references[number]])


def test_images_of_different_sizes(served: Server, pictures: Pictures, references: list[Reference]) -> None:
    reply = ask(served, "tiny", [image_input(*(path.read_bytes() for path in pictures.shallow))])
    assert_same(reply, references)


def test_base64_with_line_breaks(served: Server, pictures: Pictures, references: list[Reference]) -> None:
    text = base64.encodebytes(pictures.png.read_bytes()).decode()
    assert "\n" in text
    assert_same(ask(served, "tiny", [text_input(text)]), [references[1]])


def test_image_files_in_binary(served: Server, pictures: Pictures, references: list[Reference]) -> None:
    files = np.array([[path.read_bytes()] for path in pictures.shallow], object)
    found = binary(served, "image", files, "BYTES")
    outputs = {name: found.as_numpy(name) for name in OUTPUTS}
    assert_same(Reply(status=200, error="", outputs=outputs), references)


def test_pixels(served: Server, pictures: Pictures, references: list[Reference]) -> None:
    pixels = pixels_of(pictures.png)[None]
    assert_same(ask(served, "tiny", [array_input("pixels", "UINT8", pixels)]), [references[1]])
    found = binary(served, "pixels", pixels.repeat(3, axis=0), "UINT8")
    outputs = {name: found.as_numpy(name) for name in OUTPUTS}
    assert_same(Reply(status=200, error="", outputs=outputs), [references[1]] * 3)


def test_polygons(served: Server, pictures: Pictures, references: list[Reference]) -> None:
    reply = ask(served, "tiny", [image_input(pictures.jpeg.read_bytes())], response="polygons")
    found = [json.loads(text) for text in reply.outputs["segmentations"][0]]
    assert found == references[0].polygons


def test_masks(served: Server, pictures: Pictures, references: list[Reference]) -> None:
    # JSON: a PNG's own bytes would make it invalid.
    reply = ask(served, "tiny", [image_input(pictures.jpeg.read_bytes())], response="masks")
    found = [base64.b64decode(text, validate=True) for text in reply.outputs["segmentations"][0]]
    height, width = references[0].size
    expected = decode([{"size": [height, width], "counts": each} for each in references[0].counts], height, width)
    assert expected.any()
    for data, mask in zip(found, expected, strict=True):
        with Image.open(BytesIO(data)) as picture:
            assert picture.format == "PNG"
            assert picture.mode == "1"
            assert np.array_equal(np.array(picture), mask)


@pytest.mark.parametrize("as_text", [False, True])
def test_score_threshold(
    as_text: bool, tiny_files: tuple[Path, Path], served: Server, pictures: Pictures, references: list[Reference]
) -> None:
    scores = references[0].scores
    # Exactly a score: that one does not count.
    threshold = float(scores[len(scores) // 2])
    [expected] = predicted_there(tiny_files[1], [pictures.jpeg], threads=1, score_threshold=threshold)
    assert 0 < len(expected.counts) < len(scores)
    given = str(threshold) if as_text else threshold
    reply = ask(served, "tiny", [image_input(pictures.jpeg.read_bytes())], score_threshold=given)
    assert_same(reply, [expected])


def test_nothing_found(served: Server, pictures: Pictures) -> None:
    reply = ask(served, "tiny", [image_input(pictures.jpeg.read_bytes())], score_threshold=1)
    assert reply.error == ""
    assert reply.outputs["count"].tolist() == [[0]]
    assert reply.outputs["image_size"].tolist() == [[120, 160]]
    assert reply.outputs["boxes"].shape == (1, 0, 4)
    assert reply.outputs["segmentations"].shape == (1, 0)


def test_deep_image(tiny_files: tuple[Path, Path], served: Server, pictures: Pictures) -> None:
    given = [image_input(pictures.deep.read_bytes())]
    refused = ask(served, "tiny", given)
    assert refused.status == 400
    assert "uint16" in refused.error
    expected = predicted_there(tiny_files[1], [pictures.deep], window=WINDOW, threads=1)
    assert_same(ask(served, "windowed", given), expected)


def test_another_engine(served: Server, pictures: Pictures, tiny_files: tuple[Path, Path]) -> None:
    expected = predicted_there(tiny_files[1], pictures.shallow, threads=1, backend="openvino")
    for path, reference in zip(pictures.shallow, expected, strict=True):
        assert_same(ask(served, "openvino", [image_input(path.read_bytes())]), [reference])


def test_requests_are_put_together(served: Server, pictures: Pictures, references: list[Reference]) -> None:
    client = pytest.importorskip("tritonclient.http")

    def executions() -> tuple[int, int]:
        [statistics] = connection.get_inference_statistics("tiny")["model_stats"]
        return statistics["inference_count"], statistics["execution_count"]

    def work(number: int) -> Reply:
        return ask(served, "tiny", [image_input(pictures.shallow[number % 3].read_bytes())])

    with client.InferenceServerClient(served.http) as connection:
        before = executions()
        with ThreadPoolExecutor(16) as threads:
            for number, reply in enumerate(threads.map(work, range(48))):
                assert_same(reply, [references[number % 3]])
        images, passes = (after - earlier for after, earlier in zip(executions(), before, strict=True))
    assert images == 48
    assert passes < 48


def test_a_cancelled_request_is_not_computed(served: Server, pictures: Pictures) -> None:
    client = pytest.importorskip("tritonclient.grpc")
    file = client.InferInput("image", [16, 1], "BYTES")
    file.set_data_from_numpy(np.array([[pictures.jpeg.read_bytes()]] * 16, object))
    answers: Queue[Any] = Queue()
    with client.InferenceServerClient(served.grpc) as connection:
        [before] = connection.get_inference_statistics("tiny").model_stats
        calls = [
            connection.async_infer("tiny", [file], lambda result, error: answers.put((result, error))) for _ in range(8)
        ]
        for call in calls[1:]:
            call.cancel()
        assert sum(error is None for _, error in (answers.get(timeout=60) for _ in calls)) >= 1
        # What is cancelled is forgotten in the queue, or when its turn comes.
        assert ask(served, "tiny", [image_input(pictures.jpeg.read_bytes())]).status == 200
        [after] = connection.get_inference_statistics("tiny").model_stats
    assert after.inference_count - before.inference_count < 16 * 8


def test_metadata(served: Server, tiny_files: tuple[Path, Path]) -> None:
    client = pytest.importorskip("tritonclient.http")
    with client.InferenceServerClient(served.http) as connection:
        parameters = connection.get_model_config("tiny")["parameters"]
        described = connection.get_model_metadata("tiny")
    assert parameters["precision"]["string_value"] == "fp32"
    assert parameters["backend"]["string_value"] == "onnxruntime"
    assert len(parameters["sha256:tiny.onnx"]["string_value"]) == 64
    assert [(each["name"], each["datatype"]) for each in described["outputs"]] == [
        (name, kind) for name, (kind, _) in OUTPUTS.items()
    ]


def test_curl_of_the_documentation(served: Server, pictures: Pictures, references: list[Reference]) -> None:
    page = (ROOT / "docs" / "serve.md").read_text()
    [command] = [block for block in page.split("```")[1::2] if "curl" in block]
    command = command.replace("localhost:8000", served.http).replace("models/nuclei", "models/tiny")
    command = command.replace("demo/nuclei/images/0001.png", str(pictures.png))
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=True)
    outputs = {each["name"]: each for each in json.loads(done.stdout)["outputs"]}
    assert [text.encode() for text in outputs["segmentations"]["data"]] == references[1].counts
