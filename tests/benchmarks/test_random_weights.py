"""The weights that stand in for trained ones in speed measurements."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks import random_weights
from benchmarks.harness.random_detector import randomize
from engines.torch_engine import TorchEngine
from refinemask.modeling.detector import Detector
from refinemask.weights import read_metadata, save_detector
from tests.support.tiny_detector import TINY


def test_all_detections_are_given_and_differ(tmp_path: Path) -> None:
    from dataclasses import replace

    config = replace(TINY, box_head=replace(TINY.box_head, score_threshold=0.0))
    save_detector(randomize(Detector(config), 0), tmp_path / "full.safetensors", recipe="random weights")
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 64, 96), dtype=np.uint8)
    found = TorchEngine(tmp_path / "full.safetensors").infer(images, [[64, 96], [50, 80]])
    assert found.num_detections.tolist() == [config.box_head.detections] * 2
    assert (np.diff(found.scores) < 0).all()
    sides = found.boxes[..., 2:] - found.boxes[..., :2]
    assert 2 < np.median(sides) < 64


def test_wrong_depth(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert random_weights.main(random_weights.Args(output=tmp_path / "a.safetensors", depth=18)) == 2
    assert "depth is 18; expected 50 or 101" in capsys.readouterr().err


@pytest.mark.slow
def test_published_architecture(tmp_path: Path) -> None:
    path = tmp_path / "r50.safetensors"
    assert random_weights.main(random_weights.Args(output=path)) == 0
    assert '"score_threshold": 0.0' in read_metadata(path)["config"]
