"""What an exported file says about itself, and the sizes that it takes."""

import json
from dataclasses import replace
from typing import Any

import pytest

from refinemask.config_json import to_json
from refinemask.contract import Bounds, InputError, Metadata
from refinemask.files import UserError
from refinemask.kept_layers import Accuracy, KeptLayers
from tests.support.toy_onnx import METADATA

LIMITS = Bounds(batch=(1, 1, 2), height=(64, 800, 800), width=(64, 1344, 1344))


def bounds(**limits: list[Any]) -> str:
    """Bounds as a file states them."""
    return json.dumps({"batch": [1, 1, 1], "height": [64, 64, 64], "width": [256, 256, 256], **limits})


@pytest.fixture
def metadata() -> dict[str, str]:
    """The metadata properties of the toy file."""
    return dict(METADATA)


def test_static_bounds_say_the_one_size() -> None:
    static = Bounds(batch=(1, 1, 1), height=(800, 800, 800), width=(1344, 1344, 1344))
    assert static.canvas(1333, 800) == (800, 1344)
    with pytest.raises(InputError, match="height of 800:"):
        static.check((1, 3, 1344, 1344))


@pytest.mark.parametrize(
    ("size", "canvas"), [((50, 65), (64, 96)), ((20, 1000), (64, 1024)), ((800, 1333), (800, 1344))]
)
def test_canvas_is_the_smallest_that_holds_the_image(size: tuple[int, int], canvas: tuple[int, int]) -> None:
    assert LIMITS.canvas(*size) == canvas


def test_canvas_refuses_what_does_not_fit() -> None:
    with pytest.raises(InputError, match="1333x800 does not fit: this file takes a height up to 800"):
        LIMITS.canvas(1333, 800)


KEPT = KeptLayers(
    max_drop=0.3,
    images=46,
    source=Accuracy(mask=55.5, boundary=54.7),
    reached=Accuracy(mask=55.4, boundary=54.5),
    layers={"backbone.conv2/Conv": 0.0013, "box_head.fc1/Gemm": 1e-9},
)


def test_only_a_searched_file_tells_of_kept_layers(metadata: dict[str, str]) -> None:
    read = Metadata.from_properties(metadata, "m.onnx")
    assert read.kept is None
    assert "kept" not in read.to_properties()
    kept = Metadata.from_properties(replace(read, kept=KEPT).to_properties(), "m.onnx").kept
    assert kept is not None
    assert list(kept.layers) == list(KEPT.layers)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (None, "not a KeptLayers: .*expected an object"),
        ({"images": 0}, "images is 0, expected whole number >= 1"),
        ({"max_drop": -1}, "max_drop is -1, expected number >= 0"),
        ({"max_drop": float("nan")}, "max_drop is nan"),
        ({"layers": {"a": -1}}, "layers"),
        ({"layers": {"a": float("nan")}}, "layers"),
        ({"layers": ["a"]}, "layers is .*, expected object"),
        ({"source": {"mask": 1}}, "lacks the field 'boundary' of source"),
        ({"reached": {"mask": 101, "boundary": 1}}, "reached.mask is 101, expected number <= 100"),
        ({"colour": "red"}, "the field 'colour' is unknown"),
    ],
)
def test_damaged_kept_layers_are_refused(metadata: dict[str, str], change: dict[str, Any] | None, message: str) -> None:
    text = "[]" if change is None else json.dumps(json.loads(to_json(KEPT)) | change)
    with pytest.raises(UserError, match=f"m.onnx: unreadable RefineMask metadata .*{message}"):
        Metadata.from_properties(metadata | {"kept": text}, "m.onnx")


def test_metadata_round_trip(metadata: dict[str, str]) -> None:
    read = Metadata.from_properties(metadata, "m.onnx")
    assert read.config.class_names == ("nucleus",)
    assert read.bounds.height == tuple(json.loads(metadata["bounds"])["height"])
    quantised = replace(read, masks="found", source_sha256="ab", calibration="entropy", calibration_images=3)
    searched = replace(quantised, kept=KEPT)
    for whole in (read, quantised, searched):
        assert Metadata.from_properties(whole.to_properties(), "m.onnx") == whole


def test_only_a_quantised_file_tells_of_a_calibration(metadata: dict[str, str]) -> None:
    properties = Metadata.from_properties(metadata, "m.onnx").to_properties()
    assert [name for name in properties if "calibration" in name] == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"config": None}, "m.onnx: not a RefineMask export: its metadata lacks config"),
        ({"config": "{}"}, "m.onnx: unreadable"),
        ({"bounds": "[]"}, "m.onnx: unreadable"),
        ({"bounds": '{"batch": [1, 1, 1]}'}, "m.onnx: unreadable"),
        ({"bounds": bounds(height=[32, 64])}, r"not a Bounds: height is \[32, 64\], expected list of length 3"),
        ({"bounds": bounds(height=[32, 64, 96, 128])}, "height is .*, expected list of length 3"),
        ({"bounds": bounds(height=[32, "tall", 96])}, r"height\[1\]: expected whole number, found text"),
        ({"bounds": bounds(batch=[0, 1, 1])}, "batch limits .* expected 1 <= smallest"),
        ({"bounds": bounds(width=[32, 64, 32 * 10**9])}, "width limits .* expected at most 65536"),
        (
            {"bounds": bounds(batch=[65_536] * 3, height=[128] * 3)},
            "typical limits 65536x128x256: .* pixels in a batch",
        ),
        ({"bounds": bounds(depth=[1, 1, 1])}, "field 'depth' is unknown"),
        ({"bounds": "[" * 100_000}, "nested too deeply"),
        ({"precision": "fp12"}, "precision is 'fp12': unknown value 'fp12'"),
        ({"masks": "some"}, "masks is 'some': unknown"),
        ({"calibration_images": "-1"}, "calibration_images is '-1': expected whole number >= 0"),
        ({"calibration_images": "many"}, "calibration_images is 'many': expected whole number"),
    ],
)
def test_foreign_metadata_is_refused(metadata: dict[str, str], change: dict[str, str | None], message: str) -> None:
    properties = {name: value for name, value in (metadata | change).items() if value is not None}
    with pytest.raises(UserError, match=message):
        Metadata.from_properties(properties, "m.onnx")
