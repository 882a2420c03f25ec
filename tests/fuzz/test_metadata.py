"""Damaged metadata of exported files: refused in a line, or read and written again without a change."""

import json
from dataclasses import replace
from typing import Any

from refinemask.contract import Metadata
from tests.fuzz.conftest import Seeds
from tests.support.mutations import mutated_bytes, mutated_json, refusal
from tests.support.toy_onnx import METADATA

KEPT = (
    '{"max_drop": 0.3, "images": 46, "source": {"mask": 55.5, "boundary": 54.7}, '
    '"reached": {"mask": 55.4, "boundary": 54.5}, "layers": {"box_head.fc1/Gemm": 0.001}}'
)
WHOLE: dict[str, Any] = Metadata.from_properties(
    METADATA | {"masks": "found", "calibration": "entropy", "calibration_images": "3", "kept": KEPT}, "m.onnx"
).to_properties()


def require_read_or_refused(properties: Any) -> bool:
    """Whether properties are taken; what is taken survives its own text."""
    if refusal(lambda: Metadata.from_properties(properties, "m.onnx")) is not None:
        return False
    read = Metadata.from_properties(properties, "m.onnx")
    # Only a quantised file tells of a calibration.
    expected = read if read.calibration else replace(read, calibration_images=0)
    assert Metadata.from_properties(read.to_properties(), "m.onnx") == expected
    return True


def test_properties(seeds: Seeds) -> None:
    refused = 0
    for random in seeds(300):
        properties = mutated_json(WHOLE, random)
        if isinstance(properties, dict):
            refused += not require_read_or_refused(properties)
    assert refused > 50


def test_what_is_inside_of_properties(seeds: Seeds) -> None:
    refused = 0
    for random in seeds(300):
        name = ("bounds", "config", "kept")[random.integers(3)]
        text = json.dumps(mutated_json(json.loads(WHOLE[name]), random))
        if random.random() < 0.3:
            text = mutated_bytes(WHOLE[name].encode(), random).decode(errors="replace")
        refused += not require_read_or_refused(WHOLE | {name: text})
    assert refused > 100
