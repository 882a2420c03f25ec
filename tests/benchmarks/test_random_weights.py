"""The weights that stand in for trained ones in speed measurements."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import random_weights
from benchmarks.harness.random_detector import randomize, settle
from engines.torch_engine import TorchEngine
from refinemask.modeling.detector import Detector
from refinemask.weights import read_metadata, save_detector
from tests.support.tiny_detector import TINY
from tests.support.tiny_families import MASK_HEADS


def test_all_detections_are_given_and_differ(tmp_path: Path) -> None:
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


def test_wrong_threshold(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert random_weights.main(random_weights.Args(output=tmp_path / "a.safetensors", score_threshold=1.0)) == 2
    assert "--score-threshold is 1; expected 0 or more, and less than 1" in capsys.readouterr().err


@pytest.mark.slow
def test_published_architecture(tmp_path: Path) -> None:
    path = tmp_path / "r50.safetensors"
    assert random_weights.main(random_weights.Args(output=path)) == 0
    assert '"score_threshold": 0.0' in read_metadata(path)["config"]


@pytest.mark.parametrize("family", sorted(MASK_HEADS))
def test_settled_masks_are_mostly_foreground_and_neither_empty_nor_full(family: str) -> None:
    """A mask with half of its pixels undecided is one that every rounding changes."""
    config = replace(TINY, mask_head=MASK_HEADS[family], box_head=replace(TINY.box_head, score_threshold=0.0))
    shares = []
    for change in (lambda detector: detector, settle):
        detector = change(randomize(Detector(config), 0))
        images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (1, 3, 64, 96), dtype=np.uint8))
        with torch.inference_mode():
            found = detector(images, torch.tensor([[64, 96]]))
        assert found.num_detections.tolist() == [config.box_head.detections]
        shares.append((found.masks[0] >= 0.5).float().mean((1, 2)))
    raw, settled = shares
    assert settled.median() > raw.median()
    assert settled.median() > 0.5
    assert settled.quantile(0.1) > 0.05
    assert settled.min() < 0.98
