"""Starting weights: detectors of ours, backbones in torchvision's naming, and what is refused."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from refinemask.config import BackboneConfig
from refinemask.files import UserError
from refinemask.modeling.detector import Detector
from refinemask.training.initial_weights import initialise
from refinemask.weights import save_detector
from tests.support import tiny_training

MODEL = tiny_training.RECIPE.model


def detector(seed: int) -> Detector:
    torch.manual_seed(seed)
    return Detector(MODEL)


def backbone_state(source: Detector) -> dict[str, torch.Tensor]:
    """As torchvision writes it, with a classifier and step counters."""
    extra = {"fc.weight": torch.zeros(5, 7), "bn1.num_batches_tracked": torch.tensor(3)}
    return {**{key: tensor.contiguous() for key, tensor in source.backbone.state_dict().items()}, **extra}


def same(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_a_detector_of_ours_is_taken_whole(tmp_path: Path) -> None:
    source, target = detector(0), detector(1)
    save_detector(source, tmp_path / "a.safetensors", recipe="tiny")
    initialise(target, str(tmp_path / "a.safetensors"))
    assert same(source, target)


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_a_backbone_leaves_the_rest_alone(tmp_path: Path, suffix: str) -> None:
    source, target, untouched = detector(0), detector(1), detector(1)
    path = tmp_path / f"resnet.{suffix}"
    state = backbone_state(source)
    if suffix == "pth":
        torch.save(state, path)
    else:
        save_file(state, path)
    initialise(target, str(path))
    assert same(source.backbone, target.backbone)
    assert same(untouched.fpn, target.fpn)
    assert not same(source.fpn, target.fpn)


def test_half_precision_files_become_float32(tmp_path: Path) -> None:
    save_file(
        {k: v.half() if v.is_floating_point() else v for k, v in backbone_state(detector(0)).items()},
        tmp_path / "r.safetensors",
    )
    target = detector(1)
    initialise(target, str(tmp_path / "r.safetensors"))
    assert target.backbone.conv1.weight.dtype == torch.float32


def test_a_backbone_of_another_width_is_refused(tmp_path: Path) -> None:
    other = Detector(replace(MODEL, backbone=replace(MODEL.backbone, width=16)))
    save_file(backbone_state(other), tmp_path / "r.safetensors")
    with pytest.raises(
        UserError, match=r"conv1\.weight is of shape \[16, 3, 7, 7\], expected \[8, 3, 7, 7\]; .*; and 82 more"
    ):
        initialise(detector(0), str(tmp_path / "r.safetensors"))


def test_there_are_no_imagenet_weights_of_odd_networks() -> None:
    with pytest.raises(UserError, match=r"no ImageNet weights for a ResNet with blocks \(1, 1, 1, 1\)"):
        initialise(detector(0), "imagenet")


@pytest.mark.parametrize("wrapper", ["state_dict", "model", "prefix"])
def test_a_wrapped_backbone_is_taken(tmp_path: Path, wrapper: str) -> None:
    source, target = detector(0), detector(1)
    state = backbone_state(source)
    prefixed = {f"backbone.{key}": tensor for key, tensor in state.items() if not key.startswith("fc")}
    content = {"state_dict": prefixed} if wrapper == "prefix" else {wrapper: state, "epoch": 90}
    torch.save(content, tmp_path / "resnet.pth")
    initialise(target, str(tmp_path / "resnet.pth"))
    assert same(source.backbone, target.backbone)


def test_a_detector_of_mmdetection_is_to_be_converted(tmp_path: Path) -> None:
    state = {"backbone.conv1.weight": torch.zeros(1), "neck.lateral_convs.0.conv.weight": torch.zeros(1)}
    torch.save({"meta": {}, "state_dict": state}, tmp_path / "m.pth")
    with pytest.raises(
        UserError, match=r"m\.pth: a detector of mmdetection, .*: python -m refinemask\.convert .*m\.pth"
    ):
        initialise(detector(0), str(tmp_path / "m.pth"))


@pytest.mark.parametrize(
    ("blocks", "convs", "message"),
    [
        ((2, 2, 2, 2), 2, "a ResNet-18, whose blocks have two convolutions"),
        ((3, 4, 6, 3), 2, "a ResNet-34, whose blocks have two convolutions"),
        ((1, 1, 3, 1), 3, r"a ResNet of \(1, 1, 3, 1\) blocks, expected \(1, 1, 1, 1\)"),
        ((1, 1, 0, 1), 3, r"no ResNet in torchvision's naming \(its first keys are \['layer1"),
    ],
)
def test_another_network_is_named(tmp_path: Path, blocks: tuple[int, ...], convs: int, message: str) -> None:
    state = {
        f"layer{stage}.{block}.conv{conv}.weight": torch.zeros(1)
        for stage, count in enumerate(blocks, start=1)
        for block in range(count)
        for conv in range(1, convs + 1)
    }
    torch.save(state, tmp_path / "r.pth")
    with pytest.raises(UserError, match=message):
        initialise(detector(0), str(tmp_path / "r.pth"))


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (torch.full((8,), torch.nan), "8 of the 8 values of bn1.bias are NaN"),
        (torch.zeros(8, dtype=torch.int64), "bn1.bias is no plain tensor of floats"),
        (torch.zeros(8).to_sparse(), "bn1.bias is no plain tensor of floats"),
        (torch.zeros(()), r"bn1.bias is of shape \[\], expected \[8\]"),
        (5, "bn1.bias is missing"),
    ],
)
def test_tensors_that_are_no_weights_are_refused(tmp_path: Path, tensor: Any, message: str) -> None:
    torch.save({**backbone_state(detector(0)), "bn1.bias": tensor}, tmp_path / "r.pth")
    with pytest.raises(UserError, match=message):
        initialise(detector(1), str(tmp_path / "r.pth"))


@pytest.mark.parametrize("content", [5, [], {}, {"a": 1}, {"state_dict": {}}, {3: torch.zeros(1)}, torch.zeros(2)])
def test_files_without_named_tensors_are_refused(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "r.pth")
    with pytest.raises(UserError, match=r"r\.pth: holds no tensors by name"):
        initialise(detector(0), str(tmp_path / "r.pth"))


@pytest.mark.parametrize("name", ["missing.pth", "missing.safetensors", "broken.pth", "broken.safetensors"])
def test_unreadable_files_are_named(tmp_path: Path, name: str) -> None:
    if name.startswith("broken"):
        (tmp_path / name).write_bytes(b"junk")
    with pytest.raises(UserError, match=name):
        initialise(detector(0), str(tmp_path / name))


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"category_ids": (7,)}, r"category_ids is \(7,\), expected \(1,\)"),
        ({"backbone": replace(MODEL.backbone, stride_in_1x1=True)}, "stride_in_1x1 is True, expected False"),
        ({"preprocessing": replace(MODEL.preprocessing, std=(1.0, 1.0, 1.0))}, r"preprocessing\.std is \(1\.0"),
    ],
)
def test_weights_of_another_meaning_are_refused(tmp_path: Path, change: dict[str, Any], field: str) -> None:
    save_detector(Detector(replace(MODEL, **change)), tmp_path / "a.safetensors", recipe="other")
    with pytest.raises(UserError, match=field):
        initialise(detector(0), str(tmp_path / "a.safetensors"))


def test_torchvisions_weights_are_not_for_caffes_backbone() -> None:
    config = BackboneConfig(stride_in_1x1=True)
    with pytest.raises(UserError, match="give --init a file of Caffe's weights"):
        initialise(Detector(replace(MODEL, backbone=config)), "imagenet")
