"""Both sides of every saving give the same, and the second does less."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.savings import __main__ as savings
from benchmarks.savings import measurement
from benchmarks.savings.catalogue import HERE, SAVINGS
from benchmarks.savings.head_export import runners
from benchmarks.savings.measurement import photo_boxes, take_sample
from benchmarks.savings.plain_head import PlainRefineMaskHead
from benchmarks.savings.rearrangements import Scene, pairs, with_image_index
from refinemask.config import RefineMaskConfig
from refinemask.modeling.refine_mask_head import RefineMaskHead
from tests.support.tolerances import TOLERANCES

BOXES = torch.tensor([[4, 6, 60, 50], [0, 0, 128, 96], [100, 30, 128, 96], [20, 3, 29, 31]])
CHANNELS, CLASSES = 32, 5


def make_head(kind: type[RefineMaskHead] = RefineMaskHead) -> RefineMaskHead:
    torch.manual_seed(0)
    head = kind(CHANNELS, CLASSES, RefineMaskConfig()).eval()
    for parameter in head.parameters():
        if parameter.ndim == 1:
            torch.nn.init.normal_(parameter, std=0.1)
    return head


def make_scene(dtype: torch.dtype = torch.float32) -> Scene:
    scene = Scene.random(96, 128, BOXES, CLASSES, CHANNELS)
    return Scene([x.to(dtype) for x in scene.pyramid], scene.rois, scene.labels)


def test_plain_head_is_the_head() -> None:
    plain, ours, scene = make_head(PlainRefineMaskHead).double(), make_head().double(), make_scene(torch.float64)
    with torch.no_grad():
        outputs = [head(scene.pyramid, scene.rois, scene.labels).stage_logits for head in (plain, ours)]
    for expected, found in zip(*outputs, strict=True):
        assert (found - expected).norm() <= TOLERANCES["exact in float64"].relative * expected.norm()


def test_pairs() -> None:
    scene = make_scene()
    natural = Scene(scene.pyramid, with_image_index(BOXES[3:]), scene.labels[:1])
    gflop = {}
    with torch.no_grad():
        for pair in pairs(make_head(), scene, natural, torch.randn(1, 3, 64, 64)):
            sample = take_sample(pair, random.Random(0), count=True)
            assert sample.difference <= TOLERANCES["exact in float32"].relative, pair.saving.name
            gflop[pair.saving.name] = sample.gflop
    assert set(gflop) == {saving.name for saving in SAVINGS.values() if saving.measured == HERE}
    assert {name for name, sides in gflop.items() if sides["on"] < sides["off"]} == {
        "logits of the label only",
        "1×1 convolutions before upsampling",
        "only detections, not padding",
        "semantic branch only near detections",
        "stage 3's 1×1 convolution before RoIAlign",
    }
    assert not {name for name, sides in gflop.items() if sides["on"] > sides["off"]}


def test_head_in_each_runtime() -> None:
    pytest.importorskip("openvino", reason="needs the extra 'openvino'")
    head, scene = make_head(), make_scene()
    with torch.no_grad():
        expected = head.predict(scene.pyramid, scene.rois, scene.labels).numpy()
        for name, run in runners(head, scene, threads=1).items():
            far = np.abs(run() - expected) > TOLERANCES["engine masks"].absolute
            assert far.mean() < TOLERANCES["mask pixels that changed sides"].absolute, name


def test_photo_boxes_lie_in_the_canvas() -> None:
    photos = photo_boxes(96, 128)
    for _ in range(13):
        boxes = next(photos)
        assert (boxes[:, 2:] > boxes[:, :2]).all()
        assert (boxes >= 0).all()
        assert (boxes <= torch.tensor([128.5, 96.5]).repeat(2)).all()


def test_report(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(measurement, "CHANNELS", CHANNELS)
    heads = {name: lambda: np.ones((3, 112, 112)) for name in ("ONNX Runtime", "OpenVINO")}
    monkeypatch.setattr(measurement, "runners", lambda *_: dict(heads))
    output = tmp_path / "savings.json"
    assert savings.main(savings.Args(size=(64, 96), detections=3, rounds=1, output=output)) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in SAVINGS)
    report = json.loads(output.read_text())
    assert [head["runtime"] for head in report["heads"]] == ["PyTorch", "ONNX Runtime", "OpenVINO"]
    assert report["heads"][0]["changed_pixels"] == 0
    assert report["settings"] == {"height": 64, "width": 96, "detections": 3, "rounds": 1, "threads": 1}
    numbered = [(number, name) for number, name in enumerate(SAVINGS, start=1) if SAVINGS[name].measured == HERE]
    assert [(each["number"], each["name"]) for each in report["savings"]] == numbered
