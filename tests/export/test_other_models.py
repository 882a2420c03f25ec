"""PointRend and Hybrid Task Cascade exported: the same contract, and ONNX Runtime equals PyTorch."""

from dataclasses import replace
from typing import get_args

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
import torch

from benchmarks.harness.random_detector import randomize
from export.model import to_onnx
from export.qdq import layers
from export.tensorrt_rules import Target, check_model
from refinemask.config import HTCConfig, MaskHeadConfig, PointRendConfig
from refinemask.contract import Bounds, Masks
from refinemask.modeling.detector import Detector
from tests.support.tiny_detector import TINY
from tests.support.tolerances import TOLERANCES

BOUNDS = Bounds(batch=(1, 2, 2), height=(32, 64, 96), width=(32, 64, 96))
HEADS = [PointRendConfig(hidden=32), HTCConfig(convs=1)]


@pytest.mark.parametrize("masks", ["all", "found"])
@pytest.mark.parametrize("head", HEADS, ids=["pointrend", "htc"])
def test_the_file_equals_pytorch(head: MaskHeadConfig, masks: Masks) -> None:
    detector = randomize(Detector(replace(TINY, mask_head=head)), seed=0)
    model = to_onnx(detector, BOUNDS, masks=masks)
    assert [name for name in layers(model.graph) if "/" not in name] == [], "recorded ranges go by the module's name"
    for target in get_args(Target):
        file = model.clone()
        if target == "tensorrt-10.3":
            file.functions.clear()
        found = [finding.where for finding in check_model(file, target) if finding.body is None]
        assert found == ["masks found"] * (masks == "found")
    session = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString(), providers=["CPUExecutionProvider"])
    random = np.random.default_rng(1)
    for batch, height, width in ((2, 64, 96), (1, 96, 32)):
        images = random.integers(0, 256, (batch, 3, height, width), dtype=np.uint8)
        sizes = np.array([[height - 7 * index, width - 3] for index in range(batch)])
        found = session.run(None, {"images": images, "image_sizes": sizes})
        with torch.no_grad():
            expected = detector(torch.from_numpy(images), torch.from_numpy(sizes)).numpy()
        # Boxes of padding have no area, and what masks they have is left open.
        real = np.arange(expected.scores.shape[1]) < expected.num_detections[:, None]
        assert real.any(axis=1).all()
        for name, ours, theirs in zip(expected._fields, found, expected, strict=True):
            assert ours.shape == theirs.shape
            if name == "masks":
                ours, theirs = ours[real], theirs[real]
            tolerance = TOLERANCES["onnx runtime boxes" if name == "boxes" else "onnx runtime"]
            differs = np.abs(ours - theirs) > tolerance.absolute
            # Which of two pixels is less certain may tip; all else agrees throughout.
            allowed = TOLERANCES["golden chosen points"].absolute if name == "masks" else 0
            assert differs.mean() <= allowed, name
