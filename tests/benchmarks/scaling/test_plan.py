"""Which settings are measured, and what is refused."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks.scaling.plan import Plan, default_threads, needed_size, series
from refinemask.config import Preprocessing
from refinemask.files import UserError

GIVEN: dict[str, Any] = {"engines": ("a.onnx",), "images": (Path("pictures"),)}


def test_one_thing_varies_at_a_time() -> None:
    plan = Plan(**GIVEN, detections=(5, 0), batches=(2, 1), threads=(4,), sizes=((64, 96), (32, 64)))
    found = series(plan, (800, 1344))
    [base] = found["base"]
    assert (base.size, base.batch, base.threads, base.detections) == ((64, 96), 2, 4, None)
    assert [each.detections for each in found["detections"]] == [0, 5]
    assert [each.size for each in found["size"]] == [(64, 96), (32, 64)]
    assert [each.batch for each in found["batch"]] == [2, 1]
    assert "threads" not in found


def test_sizes_follow_from_the_images() -> None:
    needed = needed_size([(480, 640), (640, 480)], Preprocessing(short_side=64, long_side=128))
    assert needed == (96, 96)
    assert [each.size for each in series(Plan(**GIVEN), (800, 1344))["size"]] == [(800, 1344), (608, 1024), (416, 672)]
    assert "size" not in series(Plan(**GIVEN), (32, 32))
    assert [default_threads(cores) for cores in (1, 2, 12)] == [(1,), (2, 1), (12, 6, 3, 1)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rounds": 5}, "rounds is 5"),
        ({"batches": (1, 0)}, "batches is 0"),
        ({"detections": (-1,)}, "detections is -1"),
        ({"sizes": ((64, 100),)}, "--sizes has 64x100; expected multiples of 32"),
        ({"sizes": ((3200000, 3200000),)}, "--sizes has 3200000x3200000; expected .* at most .* pixels"),
        ({"latency": 0.0}, "--latency is 0"),
        ({"resume": True}, "--resume goes on from the output"),
    ],
)
def test_wrong_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Plan(**GIVEN, **options)
