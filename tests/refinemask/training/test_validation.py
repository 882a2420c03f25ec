"""A detector in training as a predictor."""

import numpy as np
import pytest
import torch

from refinemask.modeling.detector import Detector
from refinemask.training.validation import LivePredictor
from tests.support.tiny_detector import make_tiny_detector


def test_validation_is_in_fp32_as_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    pyramid = Detector.pyramid

    def watched(detector: Detector, images: torch.Tensor) -> list[torch.Tensor]:
        seen.append(torch.backends.cudnn.conv.fp32_precision)  # type: ignore[attr-defined]
        return pyramid(detector, images)

    monkeypatch.setattr(Detector, "pyramid", watched)
    predictor = LivePredictor(make_tiny_detector(), torch.device("cpu"))
    predictor.detect(np.zeros((1, 3, 64, 64), np.uint8), np.array([[64, 64]]), np.ones((1, 4), np.float32), [(64, 64)])
    assert (predictor.precision, seen) == ("fp32", ["ieee"])
