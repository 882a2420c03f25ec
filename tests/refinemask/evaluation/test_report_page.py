"""The page of an evaluation, in a browser: the numbers of the JSON, every figure, and nothing from elsewhere."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from refinemask.data.coco import read_coco
from refinemask.evaluation.coco import IOU_TYPES, coco_figures, match_coco
from refinemask.evaluation.foreign_results import evaluate_results
from refinemask.evaluation.report_page import write_evaluation_page
from refinemask.evaluation.run import Evaluation
from tests.support.chromium import EMPTY, chromium, require_fits, require_quiet
from tests.support.html_page import require_alone
from tests.support.small_annotations import CONTENT, HEIGHT, RESULTS, WIDTH

ROWS = """Object.fromEntries([...document.querySelectorAll("section[aria-labelledby=figures] tbody tr")].map((row) =>
  [row.querySelector("th").textContent, [...row.querySelectorAll("td")].map((cell) => cell.firstChild.textContent)]))"""


@pytest.fixture
def found(tmp_path: Path) -> Evaluation:
    path = tmp_path / "val.json"
    path.write_text(json.dumps(CONTENT))
    dataset = read_coco(path)
    matches = match_coco(dataset, {1: RESULTS, 2: RESULTS}, IOU_TYPES)
    return Evaluation(
        figures={kind: coco_figures(each) for kind, each in matches.items()},
        images=2,
        skipped=("<b>.png: cannot be read",),
        max_detections=100,
        matches=matches,
        model="<model>.onnx",
        metric="coco",
        engine="ONNX Runtime",
        precision="fp32",
        sha256={"annotations": "0" * 64},
        class_names=dataset.categories,
        pictures=(),
        intervals={"segm": (0.2, 0.4)},
    )


def test_numbers_are_those_of_the_json_and_every_figure_is_drawn(found: Evaluation, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    write_evaluation_page(found, path, "python -m refinemask.evaluate '<model>.onnx'")
    figures = json.loads(found.to_json())["figures"]
    with chromium() as page:
        page.open(path, 1600)
        rows = page.run(ROWS)
        assert set(rows) == {name for each in figures.values() for name, value in each.items() if value >= 0}
        for name, cells in rows.items():
            values = [figures[kind][name] for kind in ("segm", "boundary", "bbox")]
            assert cells == [f"{100 * value:.2f}" if value >= 0 else "–" for value in values]
        smalls = page.run("[...document.querySelectorAll('.tile small, td small')].map((each) => each.textContent)")
        assert smalls == ["95 %: 20.00 to 40.00", "no interval", "no interval", "20.00 to 40.00"]
        assert page.run("document.querySelectorAll('polyline').length") == 9
        assert page.run("[...document.querySelectorAll('#classes ~ * tbody tr')].length") == 2
        assert page.run(EMPTY) == 0
        for width in (1600, 360):
            page.resize(width)
            require_fits(page)
        require_quiet(page)


def test_what_was_not_measured_is_not_shown(found: Evaluation, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    write_evaluation_page(replace(found, matches={}, pictures=None, skipped=()), path)
    html = path.read_text()
    assert "<h2" in html
    for absent in ("Precision and recall", "Classes", "differ most", "left out"):
        assert absent not in html
    assert "not recorded" in html
    assert "<model>" not in html


def test_results_of_another_tool_have_a_page_with_pictures_and_intervals(tmp_path: Path) -> None:
    (tmp_path / "val.json").write_text(json.dumps(CONTENT))
    (tmp_path / "theirs.json").write_text(json.dumps([{"image_id": 1, **each} for each in RESULTS]))
    Image.new("RGB", (WIDTH, HEIGHT), (90, 90, 90)).save(tmp_path / "a.png")
    arguments = tmp_path / "theirs.json", tmp_path / "val.json", tmp_path
    found = evaluate_results(*arguments, pictures=2, resamples=200)
    write_evaluation_page(found, tmp_path / "report.html")
    page = require_alone((tmp_path / "report.html").read_text())
    assert "theirs.json on 2 images" in page.texts
    assert "results of another tool, coco" in page.texts
    [ap] = [row for row in page.rows if row[0] == "AP"]
    low, high = found.intervals["segm"]
    assert ap[1] == f"{100 * found.figures['segm']['AP']:.2f} {100 * low:.2f} to {100 * high:.2f}"
    # The other image has a crowd.
    names = [value for name, value in page.attributes if name == "data-name"]
    assert names == ["a.png"]
    assert evaluate_results(*arguments[:2], pictures=2).pictures is None
