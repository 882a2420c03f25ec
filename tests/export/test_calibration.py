"""Choosing images to calibrate on, and keeping what was measured."""

from pathlib import Path

import pytest

from export.calibration import Calibration, read_calibration, split_images, write_calibration
from refinemask.bundled import NUCLEI
from refinemask.files import UserError

ANNOTATIONS = NUCLEI / "annotations" / "instances_val.json"


def test_calibration_images_are_not_compared_on() -> None:
    calibration, held_out = split_images(ANNOTATIONS, NUCLEI / "images", 10)
    assert (len(calibration), len(held_out)) == (10, 6)
    assert not {image.tobytes() for image in calibration} & {image.tobytes() for image in held_out}


def test_a_calibration_is_read_as_it_was_written(tmp_path: Path) -> None:
    calibration = Calibration(source_sha256="ab", tool="by hand", images=2, ranges={"neck/Conv": 1.5})
    write_calibration(calibration, tmp_path / "a.ranges.json")
    assert read_calibration(tmp_path / "a.ranges.json") == calibration


def test_something_else_is_no_calibration(tmp_path: Path) -> None:
    (tmp_path / "wrong.json").write_text("{}")
    with pytest.raises(UserError, match=r"not a calibration written by python -m export.quantize"):
        read_calibration(tmp_path / "wrong.json")
    with pytest.raises(UserError, match=r"absent.json: cannot be read"):
        read_calibration(tmp_path / "absent.json")
