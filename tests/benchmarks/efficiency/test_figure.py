"""The figure of engines with nearly the same speed."""

from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Literal

import pytest

from benchmarks.efficiency.figure import draw, plot
from benchmarks.efficiency.models import MODELS
from benchmarks.efficiency.report import AccuracyInputs, BackendReport, EfficiencyReport, Inputs, ModelReport
from benchmarks.harness.settings import Settings
from tests.support.engine_reports import make_comparison, make_engine


def report(weights: Literal["random", "trained"]) -> EfficiencyReport:
    """Four engines, of which two are as fast as each other."""
    backends = []
    for name, speed in (("PyTorch", 0.3), ("ONNX Runtime", 0.5), ("OpenVINO", 0.51), ("TensorRT", 200)):
        engines = [make_engine(name=name, fps=speed / place) for place in range(1, 5)]
        if weights == "trained":
            engines = [
                replace(engine, accuracy={"segm": {"AP": ap}})
                for engine, ap in zip(engines, (0.33, 0.34, 0.36, 0.355), strict=True)
            ]
        backends.append(BackendReport.of(name, make_comparison(engines)))
    settings = Settings(canvas=(800, 1344))
    return EfficiencyReport(
        inputs=Inputs(settings=settings, images=(), weights=weights, accuracy=AccuracyInputs(limit=None)),
        device="Some(R) CPU",
        published_at="",
        models=tuple(
            ModelReport(
                key=model.key,
                name=model.name,
                checkpoint_sha256="",
                parameters=1,
                gflops=1,
                gflops_by_part={},
                published=model.published,
            )
            for model in MODELS
        ),
        backends=tuple(backends),
    )


@pytest.mark.parametrize("weights", ["random", "trained"])
def test_labels_are_apart_and_inside(weights: Literal["random", "trained"]) -> None:
    figure = plot(report(weights))
    figure.draw_without_rendering()
    (axes,) = figure.axes
    left, right = axes.get_xlim()
    labels = [*axes.texts, *(tick for tick in axes.get_xticklabels() if left <= tick.get_position()[0] <= right)]
    assert [text.get_text() for text in axes.texts[:5]][1:3] == ["PyTorch fp32", "ONNX Runtime fp32"]
    assert {text.get_text() for text in axes.texts[5:]} == {model.name for model in MODELS}
    extents = [text.get_window_extent() for text in labels if text.get_text()]
    assert not [pair for pair in combinations(extents, 2) if pair[0].overlaps(pair[1])]
    width, height = figure.bbox.size
    assert all(box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height for box in extents)


def test_the_same_report_gives_the_same_files(tmp_path: Path) -> None:
    first, second = (draw(report("random"), tmp_path / name) for name in ("a.json", "b.json"))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_the_axis_says_whose_accuracy_it_is() -> None:
    assert "published" in plot(report("random")).axes[0].get_ylabel()
    assert "measured" in plot(report("trained")).axes[0].get_ylabel()
    heights = plot(report("trained")).axes[0].lines[-5].get_ydata()
    assert heights == pytest.approx([33, 34, 35.5, 36])
