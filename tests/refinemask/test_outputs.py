"""Whatever breaks the contract of the five outputs is refused, and padding is not looked at."""

from typing import Any

import numpy as np
import pytest
import torch

from refinemask.outputs import OutputError, check_detections, check_layout
from refinemask.structures import Detections

NAN, INF = float("nan"), float("inf")


def detections(**changed: Any) -> Detections:
    """Two images with two and no detections, and padding of anything."""
    fields: dict[str, Any] = {
        "boxes": np.ones((2, 3, 4), np.float32),
        "scores": np.ones((2, 3), np.float32),
        "labels": np.ones((2, 3), np.int64),
        "num_detections": np.array([2, 0]),
        "masks": np.ones((2, 3, 5, 5), np.float32),
    }
    for name in ("boxes", "scores", "masks"):
        fields[name][0, 2], fields[name][1] = NAN, INF
    fields["labels"][1] = 99
    return Detections(**{**fields, **changed})


def changed(name: str, value: float) -> dict[str, Any]:
    array = getattr(detections(), name).copy()
    array[(0,) * array.ndim] = value
    return {name: array}


def test_detections_are_taken_whatever_their_padding_holds() -> None:
    check_detections(detections(), 2, 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (changed("boxes", NAN), "boxes has a value that is not finite"),
        (changed("scores", INF), "scores has a value that is not finite"),
        (changed("masks", -INF), "masks has a value that is not finite"),
        (changed("labels", 2), "labels has 2 .*expected 0 to 1"),
        (changed("labels", -1), "labels has -1"),
        (changed("num_detections", -1), "num_detections is -1; expected 0 to 3"),
        (changed("num_detections", 4), "num_detections is 4"),
        ({"boxes": np.ones((2, 3, 5), np.float32)}, r"boxes is float32 \[2, 3, 5\]; expected float32 \[2, 3, 4\]"),
        ({"boxes": np.ones((1, 3, 4), np.float32)}, r"boxes is float32 \[1, 3, 4\]"),
        ({"scores": np.ones((2, 4), np.float32)}, r"scores is float32 \[2, 4\]; expected float32 \[2, 3\]"),
        ({"scores": np.ones((2, 3))}, "scores is float64"),
        ({"labels": np.ones((2, 3), np.int32)}, "labels is int32"),
        ({"num_detections": np.ones((2, 1), np.int64)}, "num_detections is int64"),
        ({"masks": np.ones((2, 3, 5, 6), np.float32)}, r"masks is float32 \[2, 3, 5, 6\]; expected .*\[2, 3, 5, 5\]"),
        ({"masks": np.array("x")}, "masks is <U1"),
    ],
)
def test_what_breaks_the_contract_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(OutputError, match=f"its output {message}"):
        check_detections(detections(**change), 2, 2)


def test_tensors_have_the_same_layout() -> None:
    tensors = Detections(*map(torch.from_numpy, detections()))
    check_layout(tensors, 2)
    with pytest.raises(OutputError, match="masks is float16"):
        check_layout(tensors._replace(masks=tensors.masks.half()), 2)
