"""Keeping what was calibrated."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from export.calibration.histogram import Histogram
from export.calibration.ranges import Calibration, choose_ranges, read_calibration, write_calibration
from refinemask.files import UserError


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


def test_readers_of_a_tensor_share_its_range_and_zeros_have_none() -> None:
    shared, zero = (Histogram.of(np.array(values, np.float32)) for values in ([1.0, -3.0], [0.0, 0.0]))
    ranges = choose_ranges({"a": shared, "b": zero, "c": shared}, "percentile-99.999")
    assert list(ranges) == ["a", "c"]
    assert ranges["a"] == ranges["c"] == pytest.approx(3.0, abs=shared.width)


def test_something_else_is_no_calibration(tmp_path: Path) -> None:
    (tmp_path / "wrong.json").write_text("{}")
    with pytest.raises(UserError, match=r"not a calibration written by python -m export.quantize"):
        read_calibration(tmp_path / "wrong.json")
    with pytest.raises(UserError, match=r"absent.json: no such file"):
        read_calibration(tmp_path / "absent.json")
    with pytest.raises(UserError, match="/dev/zero: is no regular file"):
        read_calibration(Path("/dev/zero"))
