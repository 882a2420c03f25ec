import json
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
from refinemask.official.detector import detector_from_official, load_official, recognise, translate
from refinemask.weights import load_detector, read_metadata, save_detector
from tests.support.fixture_types import OfficialDetector, OfficialState
from tests.support.official_files import mmdetection_2, mmdetection_3, save, small_mask_rcnn

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
def test_keys_without_a_place_are_named(official_state: OfficialState, change: str) -> None:
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
    assert capsys.readouterr().out.splitlines() == [
        f"{output}: ResNet-50, 80 classes, original head, 48.16 M parameters",
        "it has no configuration; the official settings of coco are assumed: 1333x800, 100 detections",
        "it has no class names; assumed are person, bicycle, car and 77 more: "
        "--categories ANNOTATIONS.json gives others",
    ]
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


def test_settings_that_are_not_the_official_ones(tmp_path: Path) -> None:
    """A configuration that is given wins over that of the file; one of other shapes does not fit the file."""
    source, output = tmp_path / "own.pth", tmp_path / "own.safetensors"
    state = small_mask_rcnn()
    torch.save({"state_dict": state, "meta": {"config": mmdetection_2(scale="(1000, 600)")}}, source)
    recognised = recognise(state)
    own = replace(recognised, preprocessing=Preprocessing(short_side=384, long_side=640))
    assert convert_checkpoint(source, output).config.preprocessing.short_side == 600
    assert convert_checkpoint(source, output, config=own).config == own
    assert load_detector(output).config == own
    output.unlink()
    with pytest.raises(UserError, match=r"own\.pth: shapes do not fit the model: box_head\.fc1"):
        convert_checkpoint(source, output, config=replace(recognised, box_head=BoxHeadConfig(hidden=32)))
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


CAFFE = {"style": "'caffe'", "norm": "mean=[103.53, 116.28, 123.675], std=[1.0, 1.0, 1.0], to_rgb=False"}


def test_a_caffe_model_reads_bgr_and_is_turned(tmp_path: Path) -> None:
    state, text = small_mask_rcnn(), mmdetection_2(**CAFFE)
    found = detector_from_official(save(tmp_path / "x.pth", state, meta={"config": text}))
    config = found.detector.config
    assert config.backbone.stride_in_1x1
    assert (config.preprocessing.mean, config.preprocessing.std) == ((123.675, 116.28, 103.53), (1.0, 1.0, 1.0))
    assert torch.equal(found.detector.backbone.conv1.weight, state["backbone.conv1.weight"].flip(1))
    assert found.remarks[0] == "from its configuration: BGR, std 1, caffe strides, 1333x800, 100 detections"
    plain = detector_from_official(save(tmp_path / "x.pth", state, meta={"config": mmdetection_2()})).detector
    assert torch.equal(plain.backbone.conv1.weight, state["backbone.conv1.weight"])
    given = detector_from_official(save(tmp_path / "x.pth", state, meta={"config": text}), plain.config).detector
    assert given.config == plain.config
    assert torch.equal(given.backbone.conv1.weight, state["backbone.conv1.weight"].flip(1))


def test_names_of_mmdetection_3_and_ids_of_annotations(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    meta = {"cfg": mmdetection_3(), "dataset_meta": {"classes": ("date", "fig"), "palette": [(1, 2, 3)]}}
    source, output = save(tmp_path / "x.pth", small_mask_rcnn(), meta=meta), tmp_path / "x.safetensors"
    assert main(Args(source, output)) == 0
    assert load_detector(output).config.class_names == ("date", "fig")
    assert load_detector(output).config.category_ids == (1, 2)
    assert "category ids 1 to 2: --categories" in capsys.readouterr().out
    annotations = tmp_path / "a.json"
    annotations.write_text(json.dumps({"categories": [{"id": 7, "name": "date"}, {"id": 0, "name": "fig"}]}))
    assert main(Args(source, output, categories=annotations)) == 0
    assert load_detector(output).config.category_ids == (7, 0)
    assert "--categories" not in capsys.readouterr().out
    assert main(Args(save(tmp_path / "unnamed.pth", small_mask_rcnn()), output, categories=annotations)) == 0
    found = load_detector(output).config
    assert (found.class_names, found.category_ids) == (("fig", "date"), (0, 7))
    assert "it has no class names; they and the ids are those of" in capsys.readouterr().out


def test_the_moving_average_is_taken_where_it_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = small_mask_rcnn()
    second = {key: tensor + 1 for key, tensor in state.items() if tensor.is_floating_point()}
    kinds = {
        "2.pth": save(
            tmp_path / "2.pth", state | {f"ema_{key.replace('.', '_')}": tensor for key, tensor in second.items()}
        ),
        "3.pth": save(
            tmp_path / "3.pth",
            state,
            ema_state_dict={f"module.{key}": tensor for key, tensor in second.items()} | {"steps": torch.tensor(9)},
        ),
    }
    output = tmp_path / "x.safetensors"
    for source in kinds.values():
        assert main(Args(source, output)) == 0
        assert "second set of weights" in capsys.readouterr().out
        assert torch.equal(load_detector(output).rpn.conv.weight, state["rpn_head.rpn_conv.weight"])
        assert main(Args(source, output, ema=True)) == 0
        assert "second set of weights" not in capsys.readouterr().out
        assert torch.equal(load_detector(output).rpn.conv.weight, second["rpn_head.rpn_conv.weight"])
    assert main(Args(save(tmp_path / "none.pth", state), output, ema=True)) == 2
    assert "has no second set of weights" in capsys.readouterr().err


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(tmp_path: Path, value: float) -> None:
    state = small_mask_rcnn()
    state["backbone.layer3.0.conv2.weight"][3, 2, 1, 0] = value
    with pytest.raises(UserError, match=r"x\.pth: 1 of the \d+ values of backbone\.layer3\.0\.conv2\.weight are NaN"):
        detector_from_official(save(tmp_path / "x.pth", state))
    state["backbone.layer3.0.conv2.weight"] = torch.full((16, 16, 3, 3), 1e300, dtype=torch.float64)
    with pytest.raises(UserError, match="are NaN or infinite"):
        load_official(Detector(recognise(state)), state)


def odd_states() -> dict[str, Any]:
    state = small_mask_rcnn()
    classifier, half = "roi_head.bbox_head.fc_cls.weight", "roi_head.mask_head.final_instance_logits.weight"
    without_masks = {key: tensor for key, tensor in state.items() if "mask_head" not in key}
    return {
        "no dimensions": state | {classifier: torch.tensor(1.0)},
        "one dimension": state | {classifier: torch.zeros(3)},
        "no classes": state | {classifier: torch.zeros(1, 64)},
        "too many classes": state | {classifier: torch.zeros(10_002, 1)},
        "a wide layer": state | {"backbone.conv1.weight": torch.zeros(70_000, 1)},
        "half a RefineMask": without_masks | {half: torch.zeros(1)},
        "half a PointRend": without_masks | {"roi_head.point_head.fc_logits.weight": torch.zeros(2, 2)},
        "HTC without dimensions": state | {"roi_head.semantic_head.conv_logits.weight": torch.tensor(1.0)},
        "no stages": {key: tensor for key, tensor in state.items() if "layer" not in key},
        "no third stage": {key: tensor for key, tensor in state.items() if "layer3" not in key},
        "many keys": state | {f"roi_head.extra.{number}": torch.zeros(1) for number in range(400)},
        "a long key": state | {"x" * 20_000: torch.zeros(1)},
        "a key of two lines": state | {"x\ny": torch.zeros(1)},
        "stages in stages": state | {"roi_head.bbox_head" + ".0" * 20_000 + ".weight": torch.zeros(1)},
        "a block too many": state | {"backbone.layer1.1000000000.conv1.weight": torch.zeros(1)},
        "another anchor": state | {"rpn_head.rpn_cls.weight": torch.zeros(5, 16, 1, 1)},
    }


@pytest.mark.parametrize("name", odd_states())
def test_odd_weights_are_refused_in_one_short_line(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=r"x\.pth: ") as error:
        detector_from_official(save(tmp_path / "x.pth", odd_states()[name]))
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 500


def test_keys_beyond_the_first_three_are_counted(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"unknown keys: roi_head\.extra\.0, .*\.1, .*\.2 and 397 more; missing"):
        detector_from_official(save(tmp_path / "x.pth", odd_states()["many keys"]))


def test_a_name_that_is_not_utf_8_is_converted(tmp_path: Path) -> None:
    output = tmp_path / "x.safetensors"
    convert_checkpoint(save(tmp_path / "x\udcff.pth", small_mask_rcnn()), output)
    assert read_metadata(output)["recipe"] == "official: x�.pth"


def test_no_input_is_overwritten(tmp_path: Path) -> None:
    source = save(tmp_path / "x.safetensors", small_mask_rcnn())
    before = source.read_bytes()
    with pytest.raises(UserError, match="is read by this very command"):
        convert_checkpoint(source, source)
    assert source.read_bytes() == before
