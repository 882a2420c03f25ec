"""Choosing images to calibrate on, and keeping what was measured."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from export.calibration import Calibration, read_calibration, split_images, write_calibration
from refinemask.bundled import NUCLEI
from refinemask.config import Window
from refinemask.files import UserError
from tests.support.image_files import png

ANNOTATIONS = NUCLEI / "annotations" / "instances_val.json"


def test_calibration_images_are_not_compared_on() -> None:
    calibration, held_out = split_images(ANNOTATIONS, NUCLEI / "images", 10)
    assert (len(calibration), len(held_out)) == (10, 6)
    assert not {image.tobytes() for image in calibration} & {image.tobytes() for image in held_out}


def test_deep_images_are_calibrated_on_by_the_window(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(np.full((9, 8), 4080, np.uint16)))
    image = {"id": 1, "file_name": "a.png", "height": 9, "width": 8}
    (tmp_path / "a.json").write_text(
        json.dumps({"images": [image], "annotations": [], "categories": [{"id": 1, "name": "a"}]})
    )
    for images in split_images(tmp_path / "a.json", tmp_path, 1, Window(low=0, high=4080)):
        np.testing.assert_array_equal(images, np.full((1, 9, 8, 3), 255))
    with pytest.raises(UserError, match="--window LOW HIGH"):
        split_images(tmp_path / "a.json", tmp_path, 1)


def test_a_calibration_is_read_as_it_was_written(tmp_path: Path) -> None:
    calibration = Calibration(source_sha256="ab", tool="by hand", images=2, ranges={"neck/Conv": 1.5})
    write_calibration(calibration, tmp_path / "a.ranges.json")
    assert read_calibration(tmp_path / "a.ranges.json") == calibration


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ranges": {"a": 0}}, r"ranges is .*expected number > 0"),
        ({"ranges": {"a": -1.5}}, r"expected number > 0"),
        ({"ranges": {"a": math.nan}}, r"expected number > 0"),
        ({"ranges": {"a": math.inf}}, r"expected number <= 8000000"),
        ({"ranges": {"a": 1e30}}, r"expected number <= 8000000"),
        ({"ranges": {"a": None}}, r"expected number, found null"),
        ({"ranges": [1.5]}, r"ranges is \[1.5\], expected object, found list"),
        ({"images": "few"}, "images is 'few', expected whole number"),
        ({"images": 0}, "images is 0"),
        ({"tool": ""}, "tool is ''"),
        ({"source_sha256": 5}, "source_sha256 is 5, expected text"),
        ({"more": 5}, "field 'more' is unknown"),
    ],
)
def test_a_calibration_with_values_that_are_none_is_refused(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.ranges.json"
    write_calibration(Calibration(source_sha256="ab", tool="by hand", images=2, ranges={"neck/Conv": 1.5}), path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UserError, match=rf"a\.ranges\.json: not a calibration .*{message}"):
        read_calibration(path)


def test_something_else_is_no_calibration(tmp_path: Path) -> None:
    (tmp_path / "wrong.json").write_text("{}")
    with pytest.raises(UserError, match=r"not a calibration written by python -m export.quantize"):
        read_calibration(tmp_path / "wrong.json")
    with pytest.raises(UserError, match=r"absent.json: no such file"):
        read_calibration(tmp_path / "absent.json")
    with pytest.raises(UserError, match="/dev/zero: is no regular file"):
        read_calibration(Path("/dev/zero"))
