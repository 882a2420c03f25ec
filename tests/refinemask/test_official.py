import collections
import os
import pickle
import sys
import types
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from refinemask import convert_checkpoint
from refinemask.config import (
    BackboneConfig,
    BoxHeadConfig,
    FCNMaskConfig,
    HTCConfig,
    ModelConfig,
    PointRendConfig,
    Preprocessing,
    RefineMaskConfig,
)
from refinemask.convert import Args, main
from refinemask.data.categories import CITYSCAPES
from refinemask.files import UserError
from refinemask.modeling.detector import Detector
from refinemask.official import load_official, read_checkpoint, recognise, translate
from refinemask.weights import load_detector, read_metadata, save_detector
from tests.support.fixture_types import OfficialDetector, OfficialState

MODELS = {
    "r50-coco": ((3, 4, 6, 3), 80, RefineMaskConfig(), 48.16),
    "r101-coco": ((3, 4, 23, 3), 80, RefineMaskConfig(), 67.15),
    "r50-lvis": ((3, 4, 6, 3), 1203, RefineMaskConfig(class_agnostic_last=True), 54.42),
    "r50-cityscapes": ((3, 4, 6, 3), 8, RefineMaskConfig(), 47.76),
    "r50-coco-faster-better": ((3, 4, 6, 3), 80, RefineMaskConfig(variant="simple", class_agnostic_last=True), 48.07),
    "mask_rcnn_r50_fpn": ((3, 4, 6, 3), 80, FCNMaskConfig(), 44.40),
    "point_rend_r50_caffe_fpn": ((3, 4, 6, 3), 80, PointRendConfig(), 60.21),
    "htc_r50_fpn": ((3, 4, 6, 3), 80, HTCConfig(), 80.26),
}


@pytest.mark.parametrize("name", MODELS)
def test_every_official_model_is_recognised_and_placed(official_state: OfficialState, name: str) -> None:
    blocks, classes, head, millions = MODELS[name]
    state = official_state(name)
    config = recognise(state)
    assert (config.backbone.blocks, config.num_classes, config.mask_head) == (blocks, classes, head)
    detector = Detector(config)
    load_official(detector, state)
    assert abs(sum(p.numel() for p in detector.parameters()) / 1e6 - millions) < 0.01


def test_dataset_settings_follow_the_number_of_classes(official_state: OfficialState) -> None:
    lvis = recognise(official_state("r50-lvis"), tuple(f"name {i}" for i in range(1203)))
    assert (lvis.box_head.detections, lvis.box_head.score_threshold) == (300, 0.0001)
    assert lvis.class_names[5] == "name 5"
    assert lvis.category_ids[:2] == (1, 2)
    cityscapes = recognise(official_state("r50-cityscapes"))
    assert (cityscapes.preprocessing.short_side, cityscapes.preprocessing.long_side) == (1024, 2048)
    assert cityscapes.category_ids == (24, 25, 26, 27, 28, 31, 32, 33)
    animals = ("cat", "dog", "cow", "horse", "sheep", "hen", "goose", "duck")
    other = recognise(official_state("r50-cityscapes"), animals)
    assert (other.class_names, other.category_ids) == (animals, tuple(range(1, 9)))
    assert other.preprocessing.short_side == 800
    respelt = recognise(official_state("r50-cityscapes"), ("pedestrian", *CITYSCAPES.class_names[1:]))
    assert respelt == cityscapes


def test_translation_is_one_to_one(official_state: OfficialState) -> None:
    keys = [key for key in official_state("r50-coco") if not key.endswith("num_batches_tracked")]
    assert len({translate(key) for key in keys}) == len(keys)
    assert translate("roi_head.mask_head.semantic_convs.3.conv.bias") == "mask_head.semantic_convs.6.bias"
    assert translate("backbone.bn1.num_batches_tracked") is None


@pytest.mark.parametrize("change", ["missing", "unknown", "shape"])
def test_every_key_without_a_place_is_named(official_state: OfficialState, change: str) -> None:
    state = dict(official_state("r50-coco"))
    if change == "missing":
        del state["rpn_head.rpn_conv.bias"], state["neck.fpn_convs.2.conv.weight"]
        named = ["rpn.conv.bias", "fpn.output_convs.2.weight"]
    elif change == "unknown":
        state["roi_head.extra.weight"] = state["backbone.layer1.0.conv9.weight"] = torch.zeros(1)
        named = ["roi_head.extra.weight", "backbone.layer1.0.conv9.weight"]
    else:
        state["rpn_head.rpn_cls.weight"] = torch.zeros(5, 256, 1, 1)
        named = ["rpn.cls_logits.weight", "[5, 256, 1, 1]", "[3, 256, 1, 1]"]
    detector = Detector(recognise(state))
    with pytest.raises(UserError) as error:
        load_official(detector, state)
    assert all(name in str(error.value) for name in named)


@pytest.mark.parametrize("legacy", [True, False])
def test_configuration_objects_are_tolerated_and_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, legacy: bool
) -> None:
    """The 2021 checkpoints are in PyTorch's legacy format and may hold mmcv's configuration types."""
    module: Any = types.ModuleType("mmcv.utils.config")
    module.ConfigDict = type("ConfigDict", (dict,), {"__module__": "mmcv.utils.config"})
    module.Config = type("Config", (), {"__module__": "mmcv.utils.config", "__getstate__": lambda self: (1, 2, 3)})
    path = tmp_path / "official.pth"
    with monkeypatch.context() as patch:
        for name in ("mmcv", "mmcv.utils"):
            patch.setitem(sys.modules, name, types.ModuleType(name))
        patch.setitem(sys.modules, "mmcv.utils.config", module)
        meta = {"config": module.ConfigDict(model="x"), "whole": module.Config(), "CLASSES": ("a", "b"), "epoch": 12}
        official = collections.OrderedDict({"module.backbone.conv1.weight": torch.ones(2)})
        torch.save({"meta": meta, "state_dict": official}, path, _use_new_zipfile_serialization=not legacy)
    state, meta = read_checkpoint(path)
    assert list(state) == ["backbone.conv1.weight"]
    assert meta["CLASSES"] == ("a", "b")
    assert "mmcv" not in sys.modules


class Attack:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


def broken_files(folder: Path) -> Iterator[tuple[Path, str]]:
    foreign = folder / "foreign.pth"
    torch.save({"state_dict": {"a": torch.zeros(1)}, "meta": Attack(folder / "owned")}, foreign)
    yield foreign, "foreign code"
    whole = folder / "whole.pth"
    torch.save({"state_dict": {"a": torch.zeros(1000)}}, whole)
    truncated = folder / "truncated.pth"
    truncated.write_bytes(whole.read_bytes()[:1000])
    yield truncated, "truncated"
    legacy = folder / "legacy.pth"
    torch.save({"state_dict": {"a": torch.zeros(1000)}}, legacy, _use_new_zipfile_serialization=False)
    legacy.write_bytes(legacy.read_bytes()[:2000])
    yield legacy, "truncated"
    yield whole, "expected an mmdetection checkpoint"
    text = folder / "text.pth"
    text.write_text("hello")
    yield text, "expected"
    random = folder / "random.pth"
    random.write_bytes(bytes(range(72, 140)) * 20)
    yield random, "expected"
    empty = folder / "empty.pth"
    empty.write_bytes(b"")
    yield empty, "truncated"
    plain = folder / "list.pth"
    torch.save([1, 2], plain)
    yield plain, "no state dict"
    pickled = folder / "pickle.pth"
    pickled.write_bytes(pickle.dumps(Attack(folder / "owned")))
    yield pickled, "expected"
    yield folder / "absent.pth", "no such file"


def test_bad_files_give_one_line_exit_code_2_and_no_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "out.safetensors"
    for path, reason in broken_files(tmp_path):
        assert main(Args(path, output)) == 2, path
        message = capsys.readouterr().err
        assert message.count("\n") == 1, message
        assert path.name in message
        assert reason in message, message
        assert not output.exists()
    assert not (tmp_path / "owned").exists()


def test_other_models_are_refused(official_state: OfficialState) -> None:
    state = official_state("mask_rcnn_r50_fpn")
    with pytest.raises(UserError, match="expected an mmdetection checkpoint of RefineMask"):
        recognise({key: tensor for key, tensor in state.items() if "bbox_head" not in key})
    with pytest.raises(UserError, match="its mask head is none of"):
        recognise({key: tensor for key, tensor in state.items() if "conv_logits" not in key})


def test_point_rends_backbone_is_turned_from_bgr_to_rgb(
    official_state: OfficialState, official_detector: OfficialDetector
) -> None:
    state, detector = official_state("point_rend_r50_caffe_fpn"), official_detector("point_rend_r50_caffe_fpn")
    config = detector.config
    assert config.backbone.stride_in_1x1
    assert (config.preprocessing.mean, config.preprocessing.std) == ((123.675, 116.28, 103.53), (1.0, 1.0, 1.0))
    assert torch.equal(detector.backbone.conv1.weight[:, 0], state["backbone.conv1.weight"][:, 2])


def test_cascades_keep_boxes_of_low_score(official_state: OfficialState) -> None:
    assert recognise(official_state("htc_r50_fpn")).box_head.score_threshold == 0.001


def test_converted_checkpoint_reproduces_the_detector(
    official_state: OfficialState,
    official_detector: OfficialDetector,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """From a file in the official layout to the same parameters, by the command and by the function."""
    source, output = tmp_path / "refinemask_r50.pth", tmp_path / "r50.safetensors"
    torch.save({"meta": {"epoch": 12}, "state_dict": official_state("r50-coco")}, source)
    assert main(Args(source, output)) == 0
    assert capsys.readouterr().out == f"{output}: ResNet-50, 80 classes, original head, 48.16 M parameters\n"
    found = convert_checkpoint(source, tmp_path / "again.safetensors")
    assert read_metadata(found.path) == read_metadata(output)
    assert (found.config, capsys.readouterr().out) == (official_detector("r50-coco").config, "")
    with pytest.raises(UserError, match=r"name it .*r50\.safetensors"):
        convert_checkpoint(source, tmp_path / "r50.pth")
    loaded, expected = load_detector(found.path), official_detector("r50-coco")
    assert loaded.config == expected.config
    assert not loaded.training
    for (name, ours), theirs in zip(loaded.state_dict().items(), expected.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs), name


def test_settings_that_are_not_the_official_ones(official_state: OfficialState, tmp_path: Path) -> None:
    """A checkpoint holds no image sizes and anchors; a configuration of other shapes does not fit it."""
    source, output = tmp_path / "own.pth", tmp_path / "own.safetensors"
    state = official_state("mask_rcnn_r50_fpn")
    torch.save({"state_dict": state}, source)
    recognised = recognise(state)
    own = replace(recognised, preprocessing=Preprocessing(short_side=384, long_side=640))
    assert convert_checkpoint(source, output, config=own).config == own
    assert load_detector(output).config == own
    output.unlink()
    with pytest.raises(UserError, match=r"own\.pth: shapes do not fit the model: box_head\.fc1"):
        convert_checkpoint(source, output, config=replace(recognised, box_head=BoxHeadConfig(hidden=64)))
    assert not output.exists()


def test_half_precision_file_loads_as_float32(tmp_path: Path) -> None:
    config = ModelConfig(
        class_names=("a",),
        category_ids=(7,),
        backbone=BackboneConfig(blocks=(1, 1, 1, 1), width=8),
        fpn_channels=32,
        box_head=BoxHeadConfig(hidden=8),
    )
    detector = Detector(config)
    variance = detector.backbone.bn1.running_var
    assert variance is not None
    variance.fill_(1e6)  # beyond float16
    path = tmp_path / "half.safetensors"
    save_detector(detector, path, recipe="test")
    state = {k: x if "running_" in k else x.half() for k, x in load_file(path).items()}
    save_file(state, path, read_metadata(path))
    loaded = load_detector(path)
    assert loaded.config == config
    assert torch.equal(loaded.state_dict()["backbone.bn1.running_var"], variance)
    weight = detector.rpn.conv.weight
    assert torch.equal(loaded.rpn.conv.weight, weight.half().float())


@pytest.mark.parametrize("content", [b"", b"nonsense", None])
def test_loading_what_is_not_ours(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "x.safetensors"
    if content is None:
        save_file({"a": torch.zeros(1)}, path)
    else:
        path.write_bytes(content)
    with pytest.raises(UserError, match=r"x\.safetensors"):
        load_detector(path)
