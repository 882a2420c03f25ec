"""torchvision's Mask R-CNN finds here what it finds by itself, and its weights are told apart by their keys."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as coco_mask
from safetensors.torch import save_file
from torchvision.models.detection import MaskRCNN, maskrcnn_resnet50_fpn, maskrcnn_resnet50_fpn_v2
from torchvision.ops import FrozenBatchNorm2d
from torchvision.transforms.functional import pil_to_tensor

from benchmarks.harness.comparison import compare
from benchmarks.harness.pipeline import PHASES
from benchmarks.harness.settings import Settings
from benchmarks.harness.torchvision_engine import CLASSES, FIRST, TorchvisionMaskRcnn
from refinemask.data.coco import read_coco
from refinemask.files import UserError
from tests.support.found_again import box_polygon

LABELS = 4


def small(network: MaskRCNN) -> MaskRCNN:
    """The network on small images, with few proposals and detections."""
    network.rpn._pre_nms_top_n["testing"] = network.rpn._post_nms_top_n["testing"] = 20
    network.transform.min_size, network.transform.max_size = (64,), 96
    network.roi_heads.detections_per_img = 5
    return network.eval()


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Callable[..., MaskRCNN]], tuple[Path, MaskRCNN]]:
    @cache
    def make(build: Callable[..., MaskRCNN]) -> tuple[Path, MaskRCNN]:
        torch.manual_seed(3)
        network = small(build(weights=None, weights_backbone=None, num_classes=LABELS))
        path = tmp_path_factory.mktemp("weights") / "theirs.pth"
        torch.save(network.state_dict(), path)
        return path, network

    return make


def by_itself(network: MaskRCNN, path: Path) -> list[dict[str, Any]]:
    """torchvision's own way to COCO's results."""
    image = pil_to_tensor(Image.open(path)) / 255
    with torch.no_grad():
        (found,) = network([image])
    results = []
    for index, (x1, y1, x2, y2) in enumerate(found["boxes"].tolist()):
        mask = (found["masks"][index, 0] > 0.5).numpy().astype(np.uint8)
        rle = coco_mask.encode(np.asfortranarray(mask))
        segmentation = {"size": rle["size"], "counts": rle["counts"].decode()}
        label, score = int(found["labels"][index]), float(found["scores"][index])
        box = [x1, y1, x2 - x1, y2 - y1]
        results.append({"category_id": label, "bbox": box, "score": score, "segmentation": segmentation})
    return results


@pytest.mark.parametrize("build", [maskrcnn_resnet50_fpn, maskrcnn_resnet50_fpn_v2])
def test_it_finds_what_torchvision_finds(
    weights: Callable[[Callable[..., MaskRCNN]], tuple[Path, MaskRCNN]],
    build: Callable[..., MaskRCNN],
    pictures: list[Path],
) -> None:
    path, network = weights(build)
    engine = TorchvisionMaskRcnn(path, threads=1, device="cpu")
    small(engine.network)
    sample, found = engine.process(pictures[:2])
    assert engine.config.category_ids == (1, 2, 3)
    assert list(sample.seconds) == list(PHASES)
    assert sample.padded == (64, 96)
    for results, picture in zip(found, pictures, strict=False):
        expected = by_itself(network, picture)
        assert results
        assert [each["segmentation"] for each in results] == [each["segmentation"] for each in expected]
        for ours, theirs in zip(results, expected, strict=True):
            assert ours["category_id"] == theirs["category_id"]
            np.testing.assert_allclose(ours["bbox"], theirs["bbox"], rtol=0, atol=1e-3)
            np.testing.assert_allclose(ours["score"], theirs["score"], rtol=0, atol=1e-5)


def test_frozen_weights_of_safetensors_and_of_a_training_are_read(
    weights: Callable[[Callable[..., MaskRCNN]], tuple[Path, MaskRCNN]], tmp_path: Path
) -> None:
    _, network = weights(maskrcnn_resnet50_fpn)
    state = {key: value for key, value in network.state_dict().items() if not key.endswith("num_batches_tracked")}
    save_file(state, tmp_path / "frozen.safetensors")
    torch.save({"model": state, "epoch": 3}, tmp_path / "run.pth")
    for name in ("frozen.safetensors", "run.pth"):
        found = TorchvisionMaskRcnn(tmp_path / name, device="cpu").network
        assert isinstance(found.backbone.body.bn1, FrozenBatchNorm2d)
        for key, value in found.state_dict().items():
            assert torch.equal(value, state[key]), key


def test_what_cannot_run_in_torchvision_is_one_line(tmp_path: Path, pictures: list[Path]) -> None:
    other, damaged, shapes, flat, numbers = (
        tmp_path / f"{name}.pth" for name in ("other", "damaged", "shapes", "flat", "numbers")
    )
    torch.save({"conv.weight": torch.zeros(1)}, other)
    torch.save({CLASSES: torch.zeros(()), FIRST: torch.zeros(1)}, flat)
    torch.save({CLASSES: torch.zeros(3, 1024), FIRST: torch.zeros(1), 3: torch.zeros(1)}, numbers)
    damaged.write_bytes(b"no weights")
    torch.save({CLASSES: torch.zeros(3, 1024), FIRST: torch.zeros(1, 1)}, shapes)
    for path, message in (
        (other, "expected weights of torchvision's maskrcnn_resnet50_fpn or .* found other keys, such as conv.weight"),
        (damaged, r"cannot be read as weights \(\w+\): it is damaged or .*; save the weights alone"),
        (shapes, r"its weights are not those of torchvision's Mask R-CNN: Missing key\(s\)"),
        (flat, "expected weights of torchvision's maskrcnn_resnet50_fpn"),
        (numbers, "holds no state dict"),
        (tmp_path / "absent.pth", "no such file"),
    ):
        with pytest.raises(UserError, match=message) as caught:
            TorchvisionMaskRcnn(path, device="cpu")
        assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="runs in fp32 here, not in bf16"):
        TorchvisionMaskRcnn(other, precision="bf16", device="cpu")
    with pytest.raises(UserError, match=r"cannot run on 5000 threads \(--threads\); expected 1 to 1024"):
        TorchvisionMaskRcnn(other, threads=5000, device="cpu")


def test_what_fails_in_torchvision_is_one_line(
    weights: Callable[[Callable[..., MaskRCNN]], tuple[Path, MaskRCNN]],
    pictures: list[Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path, _ = weights(maskrcnn_resnet50_fpn)
    refused = r"theirs\.pth: cannot run on the device 'abacus': .*; use --device cpu"
    with pytest.raises(UserError, match=refused) as caught:
        TorchvisionMaskRcnn(path, device="abacus")
    assert "\n" not in str(caught.value)
    engine = TorchvisionMaskRcnn(path, device="cpu")

    def transform(images: object) -> None:
        assert torch.backends.cudnn.conv.fp32_precision == "ieee"  # type: ignore[attr-defined]
        raise RuntimeError("out of memory\nfor good")

    monkeypatch.setattr(engine.network.transform, "forward", transform)
    with pytest.raises(UserError, match=r"theirs\.pth: torchvision fails on these images: out of memory$"):
        engine.process(pictures[:1])


@pytest.mark.slow
def test_a_comparison_has_the_figures_of_torchvisions_own_results(
    toy_onnx: Path, annotations: Path, pictures: list[Path], tmp_path: Path
) -> None:
    torch.manual_seed(1)
    network = maskrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=2).eval()
    torch.save(network.state_dict(), tmp_path / "theirs.pth")
    results = [each | {"image_id": 10} for each in by_itself(network, pictures[0])]
    (tmp_path / "direct.json").write_text(json.dumps(results))
    content = json.loads(annotations.read_text())
    best = results[0]["bbox"]
    content["annotations"] = [
        {"id": 1, "image_id": 10, "category_id": 1, "iscrowd": 0, "bbox": best, "area": best[2] * best[3],
         "segmentation": box_polygon(best, 0)}
    ]  # fmt: skip
    annotations.write_text(json.dumps(content))
    engines = [str(toy_onnx), f"{tmp_path}/theirs.pth@torchvision", f"{tmp_path}/direct.json"]
    report = compare(engines, read_coco(annotations), pictures[0].parent, Settings(threads=1, warmup=0), limit=1)
    found = report.engines[1]
    assert found.name == "torchvision"
    assert report.others is not None
    assert found.accuracy is not None
    assert found.accuracy["bbox"]["AP"] > 0.9
    assert found.detections_per_image == report.others[0].detections_per_image
    for kind, figures in found.accuracy.items():
        theirs = report.others[0].accuracy[kind]
        np.testing.assert_allclose(list(figures.values()), list(theirs.values()), rtol=0, atol=1e-9, err_msg=kind)
