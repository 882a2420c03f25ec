import pytest

from refinemask.config import (
    BackboneConfig,
    FCNMaskConfig,
    HTCConfig,
    MaskHeadConfig,
    ModelConfig,
    PointRendConfig,
    RefineMaskConfig,
    from_json,
    to_json,
)


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


def test_importing_the_package_loads_no_torch() -> None:
    import subprocess
    import sys

    modules = ["structures", "files", "config", "masks", "data.transforms", "data.images"]
    code = f"import sys, engines, refinemask.{', refinemask.'.join(modules)}; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
