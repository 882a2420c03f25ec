import functools
import json
import math
from typing import Any

import pytest

from refinemask.config import (
    BackboneConfig,
    FCNMaskConfig,
    HTCConfig,
    MaskHeadConfig,
    ModelConfig,
    PointRendConfig,
    Preprocessing,
    RefineMaskConfig,
)
from refinemask.config_json import from_json, to_json


@pytest.mark.parametrize("head", [FCNMaskConfig(), RefineMaskConfig(variant="simple"), PointRendConfig(), HTCConfig()])
def test_round_trip(head: MaskHeadConfig) -> None:
    config = ModelConfig(
        class_names=("a", "b"), category_ids=(3, 9), backbone=BackboneConfig(blocks=(1, 2, 3, 4)), mask_head=head
    )
    assert from_json(ModelConfig, to_json(config)) == config


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"class_names": ["a"]}',
        '{"class_names": ["a"], "category_ids": [1], "new_field": 1}',
        '{"class_names": ["a"], "category_ids": [1], "mask_head": {"kind": "unknown"}}',
        '{"class_names": ["a"], "category_ids": [1, 2]}',
    ],
)
def test_what_is_no_configuration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        from_json(ModelConfig, text)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("rpn.proposals", -1, "rpn.proposals is -1, expected whole number >= 1"),
        ("rpn.proposals", 10**30, r"rpn.proposals is 10+, expected whole number <= 20000"),
        ("rpn.proposals", 5001, "rpn: proposals is 5001, expected at most 5000: 5 levels have 1000 candidates"),
        ("rpn.training_proposals", 10_001, "rpn: training_proposals .* is 10001, expected at most 10000"),
        ("rpn.anchor_ratios", [], r"rpn.anchor_ratios is \[\], expected list of length >= 1"),
        ("rpn.anchor_ratios", [1, "x"], r"rpn.anchor_ratios\[1\]: expected number, found text"),
        ("rpn.nms_iou", math.nan, "rpn.nms_iou is nan, expected number >= 0.0"),
        ("fpn_channels", "many", "fpn_channels is 'many', expected whole number, found text"),
        ("fpn_channels", None, "fpn_channels is None, expected whole number, found null"),
        ("fpn_channels", 0, "fpn_channels is 0"),
        ("backbone", [], r"backbone is \[\], expected an object"),
        ("backbone.blocks", [10**9, 1, 1, 1], r"backbone.blocks\[0\]: expected whole number <= 200"),
        ("backbone.blocks", [1, 1], r"backbone.blocks is \[1, 1\], expected list of length 4"),
        ("backbone.frozen_stages", 5, "backbone.frozen_stages is 5"),
        ("backbone.stride_in_1x1", "perhaps", "backbone.stride_in_1x1 is 'perhaps', expected true or false"),
        ("preprocessing.short_side", 0, "preprocessing.short_side is 0"),
        ("preprocessing.short_side", 2000, "preprocessing: short_side is 2000, expected at most the long_side, 1333"),
        ("preprocessing.mean", [1, 2, math.inf], r"preprocessing.mean\[2\]: expected number <= "),
        ("preprocessing.std", [1, 0, 1], r"preprocessing.std\[1\]: expected number >= 1e-06"),
        ("box_head.score_threshold", 2, "box_head.score_threshold is 2"),
        ("box_head.delta_std", 3, "box_head.delta_std is 3, expected list"),
        ("box_head.detections", 10**6, "box_head.detections is 1000000"),
        ("mask_head", None, "mask_head: no mask head of the kind None is known, only fcn"),
        ("mask_head.kind", ["fcn"], r"mask_head: no mask head of the kind \['fcn'\] is known"),
        ("mask_head.variant", "fast", "mask_head.variant is 'fast', unknown value 'fast'"),
        ("mask_head.instance_convs", 10**6, "mask_head.instance_convs is 1000000"),
        ("class_names", ["a"] * 100_001, "class_names is .*, expected list of length <= 100000"),
        ("class_names", [1, 2], r"class_names\[0\]: expected text, found whole number"),
        ("category_ids", [1, 2**63], r"category_ids\[1\]: "),
        ("category_ids", [1], "one category id per class name, found 2 names and 1 ids"),
        ("\n" + "x" * 999, 1, r"the field '\\nxxx.*' is unknown"),
    ],
)
def test_a_field_of_another_kind_or_out_of_range_is_named(place: str, value: Any, message: str) -> None:
    content = json.loads(to_json(ModelConfig(class_names=("a", "b"), category_ids=(3, 9))))
    *objects, field = place.split(".")
    functools.reduce(dict.__getitem__, objects, content)[field] = value
    with pytest.raises(ValueError, match=message) as raised:
        from_json(ModelConfig, json.dumps(content))
    assert len(str(raised.value)) < 400
    assert "\n" not in str(raised.value)


def test_sides_of_more_pixels_than_any_network_takes_are_refused() -> None:
    with pytest.raises(ValueError, match="expected at most 268435456 pixels"):
        Preprocessing(short_side=20_000, long_side=20_000)


def test_text_that_is_nested_for_ever_is_refused() -> None:
    with pytest.raises(ValueError, match="nested too deeply"):
        from_json(ModelConfig, "[" * 100_000)


def test_importing_the_package_loads_no_torch() -> None:
    import subprocess
    import sys

    modules = ["structures", "files", "config", "masks", "data.transforms", "data.images"]
    code = f"import sys, engines, refinemask.{', refinemask.'.join(modules)}; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
