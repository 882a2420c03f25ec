"""A detector with the kernels is compared with itself without them."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.gpu_suite import detector
from benchmarks.gpu_suite.detector import count_agreeing
from benchmarks.gpu_suite.timing import CpuTimer
from refinemask.structures import Detections
from tests.support.tiny_detector import make_tiny_detector


def test_the_detector_agrees_with_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = tmp_path / "noise.png"
    cv2.imwrite(str(picture), np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8))
    monkeypatch.setattr(detector.torch_ops, "enable", lambda *_: None)
    timer = CpuTimer(rounds=1, warmup=0)
    result = detector.compare_operators(make_tiny_detector(), [picture], None, timer, "cpu")  # type: ignore[arg-type]
    assert 0 < result.detections == result.agree


def test_a_moved_box_does_not_agree() -> None:
    boxes, masks = np.zeros((1, 2, 4), np.float32), np.zeros((1, 2, 8, 8), np.float32)
    found = Detections(boxes, np.ones((1, 2)), np.zeros((1, 2), int), np.array([2]), masks)
    moved = found._replace(boxes=boxes + np.array([[[0, 0, 0, 0], [1, 0, 0, 0]]]))
    assert count_agreeing(found, found) == 2
    assert count_agreeing(found, moved) == 1
    assert count_agreeing(found._replace(num_detections=np.array([0])), found) == 0
