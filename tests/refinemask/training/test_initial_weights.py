"""Starting weights: detectors of ours, backbones in torchvision's naming, and what is refused."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from refinemask.config import BackboneConfig, Window, with_window
from refinemask.files import UserError
from refinemask.modeling.detector import Detector
from refinemask.training import initial_weights
from refinemask.training.initial_weights import adapted, initialise
from refinemask.training.transfer import with_settings
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


MEANING: dict[str, Any] = {
    "preprocessing.mean": (1.0, 2.0, 3.0),
    "preprocessing.std": (1.0, 1.0, 1.0),
    "backbone.stride_in_1x1": True,
    "rpn.anchor_scale": 6.0,
    "rpn.anchor_ratios": (0.4, 1.0, 2.5),
    "box_head.delta_std": (0.2, 0.2, 0.3, 0.3),
}
"""Settings that weights are learnt with, with other values than the model's."""


@pytest.mark.parametrize("name", MEANING)
def test_what_the_weights_were_learnt_with_is_taken_over_and_said(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = Detector(with_settings(MODEL, {name: MEANING[name]}))
    path = saved(given, tmp_path)
    model = adapted(MODEL, path)
    assert model == given.config
    target = Detector(model)
    taken = initialise(target, path, MODEL)
    assert same(given, target)
    assert taken.settings == {name: MEANING[name]}
    assert taken.other_settings == {}
    assert f"; taken over: {name} {MEANING[name]}" in capsys.readouterr().err


def test_what_was_asked_for_stays_and_the_weights_are_taken_all_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = Detector(with_settings(MODEL, {"rpn.anchor_scale": 6.0, "rpn.anchor_ratios": (0.4, 1.0, 2.5)}))
    path = saved(given, tmp_path)
    model = adapted(MODEL, path, asked=["rpn.anchor_scale"])
    assert model == with_settings(MODEL, {"rpn.anchor_ratios": (0.4, 1.0, 2.5)})
    target = Detector(model)
    taken = initialise(target, path, MODEL)
    assert same(given.rpn, target.rpn)
    assert taken.other_settings == {"rpn.anchor_scale": 6.0}
    assert "otherwise in the file: rpn.anchor_scale 6.0" in capsys.readouterr().err


def test_what_does_not_change_the_meaning_of_weights_is_the_runs_own(tmp_path: Path) -> None:
    given = replace(
        MODEL,
        preprocessing=replace(MODEL.preprocessing, short_side=32),
        box_head=replace(MODEL.box_head, score_threshold=0.3, detections=7),
        backbone=replace(MODEL.backbone, frozen_stages=2),
        category_ids=(17,),
    )
    path = saved(Detector(given), tmp_path)
    assert adapted(MODEL, path) == MODEL
    assert initialise(detector(1), path).new == ()


def test_the_window_of_the_weights_is_taken_unless_another_was_asked_for(tmp_path: Path) -> None:
    theirs, ours = Window(low=0, high=4095), Window(low=0, high=65535)
    path = saved(Detector(with_window(MODEL, theirs)), tmp_path)
    assert adapted(MODEL, path) == adapted(with_window(MODEL, ours), path) == with_window(MODEL, theirs)
    asked = with_window(MODEL, ours)
    assert adapted(asked, path, asked=["preprocessing.window"]) == asked


@pytest.mark.parametrize("source", ["imagenet", "resnet.pth", "resnet.safetensors", None])
def test_a_backbones_file_changes_no_setting(
    tmp_path: Path, source: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    save_file(backbone_state(detector(0)), "resnet.safetensors")
    assert adapted(MODEL, source) == MODEL


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"blocks": (1, 1, 2, 1)}, r"backbone\.blocks is \(1, 1, 2, 1\), expected \(1, 1, 1, 1\)"),
        ({"width": 16}, r"backbone\.width is 16, expected 8; take a --recipe of the same backbone"),
    ],
)
def test_a_detector_of_another_backbone_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = saved(Detector(replace(MODEL, backbone=replace(MODEL.backbone, **change))), tmp_path)
    for attempt in (lambda: adapted(MODEL, path), lambda: initialise(detector(0), path)):
        with pytest.raises(UserError, match=message) as error:
            attempt()
        assert "\n" not in str(error.value)


def test_only_the_first_process_prints(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(initial_weights, "is_main", lambda: False)
    initialise(detector(1), saved(detector(0), tmp_path))
    assert capsys.readouterr().err == ""


def saved(given: Detector, directory: Path) -> str:
    path = directory / "a.safetensors"
    save_detector(given, path, recipe="other")
    return str(path)


def test_torchvisions_weights_are_not_for_caffes_backbone() -> None:
    config = BackboneConfig(stride_in_1x1=True)
    with pytest.raises(UserError, match="give --init a file of Caffe's weights"):
        initialise(Detector(replace(MODEL, backbone=config)), "imagenet")
