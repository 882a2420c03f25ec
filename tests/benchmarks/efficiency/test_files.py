"""Which files are measured, and when they are made."""

from pathlib import Path
from typing import Any

import pytest

import engines
from benchmarks.efficiency import files
from benchmarks.efficiency.files import Source, count_parameters, exported, find_sources
from benchmarks.efficiency.models import MODELS
from refinemask.agreement import PARITY, MismatchError
from refinemask.contract import Bounds
from refinemask.files import UserError
from refinemask.weights import load_detector, read_metadata, save_detector
from tests.support.tiny_detector import TINY, make_tiny_detector


def test_checkpoints_are_recognised_and_ordered(checkpoints: list[Path], tmp_path: Path) -> None:
    found = find_sources(checkpoints, tmp_path)
    assert [source.model.key for source in found] == ["mask-rcnn", "refinemask"]
    assert [source.checkpoint for source in found] == checkpoints[::-1]
    with pytest.raises(UserError, match="expected one of each"):
        find_sources([*checkpoints, checkpoints[0]], tmp_path)
    with pytest.raises(UserError, match="no checkpoint is a Mask R-CNN"):
        find_sources(checkpoints[:1], tmp_path)


def test_random_checkpoints_are_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "random_config", lambda head: TINY)
    found = find_sources([], tmp_path)
    assert [source.model for source in found] == list(MODELS)
    assert all(source.random for source in found)
    written = [source.checkpoint.stat().st_mtime_ns for source in found]
    assert [source.checkpoint.stat().st_mtime_ns for source in find_sources([], tmp_path)] == written
    # A release that made random weights otherwise wrote the first.
    old = found[0].checkpoint
    save_detector(make_tiny_detector(), old, recipe="random weights")
    again = find_sources([], tmp_path)
    assert read_metadata(old)["recipe"] == files.SETTLED_RECIPE
    assert [source.checkpoint.stat().st_mtime_ns for source in again[1:]] == written[1:]


def test_parameters(checkpoints: list[Path]) -> None:
    expected = sum(parameter.numel() for parameter in load_detector(checkpoints[0]).parameters())
    assert count_parameters(checkpoints[0]) == expected


def test_exports_are_made_again_for_another_checkpoint(
    checkpoints: list[Path], work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted: list[dict[str, Any]] = []

    def disagree(*_: object, **options: Any) -> None:
        wanted.append(options)
        raise MismatchError("it does not agree", [], PARITY["fp32"])

    monkeypatch.setattr(files, "call_in_child", disagree)
    refinemask, mask_rcnn = checkpoints
    source = Source(MODELS[0], mask_rcnn, random=False)
    assert exported(source, work, tmp_path, (64, 96)) == work / "mask-rcnn-64x96.onnx"
    assert exported(source, work, tmp_path) == work / "mask-rcnn.onnx"
    assert wanted == []
    with pytest.raises(UserError, match="could not be exported"):
        exported(Source(MODELS[0], refinemask, random=False), work, tmp_path, (64, 96))
    [options] = wanted
    assert options["bounds"] == Bounds(batch=(1, 1, 1), height=(64, 64, 64), width=(96, 96, 96))


@pytest.mark.slow
@pytest.mark.parametrize("size", [None, (64, 96)])
def test_exports_what_an_engine_runs(size: tuple[int, int] | None, checkpoints: list[Path], tmp_path: Path) -> None:
    images = Path(__file__).resolve().parents[3] / "demo" / "photos" / "images"
    source = Source(MODELS[-1], checkpoints[0], random=False)
    path = exported(source, tmp_path / "work", images, size)
    made = path.stat().st_mtime_ns
    assert exported(source, tmp_path / "work", images, size).stat().st_mtime_ns == made
    bounds = engines.load(path).bounds
    assert isinstance(bounds, Bounds)
    assert (bounds.batch, bounds.canvas(64, 96)) == ((1, 1, 1), (64, 96))
    assert (bounds.height[0] == bounds.height[2]) == (size is not None)


OFFICIAL_TABLE = """
Mask R-CNN | 34.7 | 36.8 | 15.7
PointRend | 35.6 | 38.7 | 11.4
HTC | 37.4 | 40.7 | 4.4
RefineMask | 37.3 | 40.9 | 11.4
"""
"""AP, AP* and FPS: the lines of "Efficiency of RefineMask" in the official repository's README, as they stand there."""


def test_published_figures_are_the_official_ones() -> None:
    rows = [line.split("|") for line in OFFICIAL_TABLE.strip().splitlines()]
    official = {row[0].strip(): tuple(float(cell) for cell in row[1:]) for row in rows}
    assert official == {m.name: (m.published.ap, m.published.ap_star, m.published.fps) for m in MODELS}
