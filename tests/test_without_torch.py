"""An exported file where there is no PyTorch: the command finds what PyTorch found, and ends as commands do.

``make test-python`` runs this and the other tests of without_torch.txt in an environment without PyTorch, and names in
``EXPORTED`` a folder that the main environment filled. Without that variable a tiny model is exported here, and the
processes that run it cannot import PyTorch.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from refinemask.agreement import PARITY
from refinemask.bundled import DEMO, PHOTO, PHOTOS
from tests.support.hidden import without
from tests.support.tolerances import TOLERANCES

ROOT = Path(__file__).resolve().parents[1]
LISTED = "@tests/without_torch.txt"


def run(module: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", module, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, env=without(["torch"]), capture_output=True, text=True)


@pytest.fixture(scope="module")
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``model.onnx``, ``pictures``, and in ``pytorch`` what PyTorch predicts on them."""
    if "EXPORTED" in os.environ:
        return Path(os.environ["EXPORTED"]).resolve()
    checkpoint, onnx = request.getfixturevalue("tiny_files")
    folder = tmp_path_factory.mktemp("exported")
    (folder / "model.onnx").symlink_to(onnx)
    (folder / "pictures").mkdir()
    for picture in sorted((PHOTOS / "images").iterdir())[:3]:
        (folder / "pictures" / picture.name).symlink_to(picture)
    command: list[str | Path] = [sys.executable, "-m", "refinemask.predict", folder / "pictures"]
    command += ["--model", checkpoint, "--output", folder / "pytorch"]
    subprocess.run(command, cwd=ROOT, check=True)
    return folder


def results(folder: Path) -> dict[tuple[str, int], list[dict[str, Any]]]:
    """What a command wrote, by picture and class."""
    grouped: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for result in json.loads((folder / "results.json").read_text()):
        grouped.setdefault((result["file_name"], result["category_id"]), []).append(result)
    return grouped


def agreeing(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> int:
    """Number of detections that both have, within the limits of float32."""
    ours, theirs = ([each["segmentation"] for each in results] for results in (found, expected))
    if not ours or not theirs:
        return 0
    overlaps = coco_mask.iou(ours, theirs, [0] * len(theirs))
    scores = np.subtract.outer([each["score"] for each in found], [each["score"] for each in expected])
    near = (overlaps >= 1 - TOLERANCES["overlap of pasted masks"].absolute) & (abs(scores) <= PARITY["fp32"].scores)
    return min(near.any(axis=0).sum(), near.any(axis=1).sum())


def test_the_command_finds_what_pytorch_found(exported: Path, tmp_path: Path) -> None:
    pictures = sorted((exported / "pictures").iterdir())
    ended = run("refinemask.predict", *pictures, "--model", exported / "model.onnx", "--output", tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert f"{len(pictures)} of {len(pictures)} images predicted, 0 skipped (ONNX Runtime fp32)" in ended.stdout
    found, expected = results(tmp_path), results(exported / "pytorch")
    numbers = [sum(map(len, each.values())) for each in (found, expected)]
    assert min(numbers) > 10
    same = sum(agreeing(found.get(key, []), theirs) for key, theirs in expected.items())
    assert same >= PARITY["fp32"].share * max(numbers)
    for picture in pictures:
        drawn, original = cv2.imread(str(tmp_path / f"{picture.stem}.png")), cv2.imread(str(picture))
        assert drawn is not None
        assert original is not None
        assert drawn.shape[0] * original.shape[1] == pytest.approx(drawn.shape[1] * original.shape[0], rel=0.01)


def test_a_missing_file_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    ended = run("refinemask.predict", PHOTO, "--model", tmp_path / "absent.onnx", "--output", tmp_path)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.splitlines() == [f"error: {tmp_path / 'absent.onnx'}: no such file"]


def test_a_checkpoint_needs_pytorch_and_says_so_in_one_line(tmp_path: Path) -> None:
    checkpoint = DEMO / "weights" / "refinemask-nuclei.safetensors"
    ended = run("refinemask.predict", PHOTO, "--model", checkpoint, "--output", tmp_path / "out")
    assert (ended.returncode, ended.stdout) == (2, "")
    [line] = ended.stderr.splitlines()
    assert line.endswith("needs torch, which is not installed; pip install 'refinemask[train]'")


def test_the_listed_tests_import_no_pytorch() -> None:
    ended = run("pytest", "--collect-only", "-q", "-p", "no:cacheprovider", LISTED)
    assert ended.returncode == 0, ended.stdout
    assert "test_without_torch.py::test_the_listed_tests_import_no_pytorch" in ended.stdout
