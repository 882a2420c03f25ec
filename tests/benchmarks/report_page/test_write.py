"""Pages of reports: the numbers of the JSON, whatever the report has or lacks, in one small file."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.efficiency.report import EfficiencyReport
from benchmarks.harness.report import ComparisonReport, EngineReport
from benchmarks.harness.report_file import read_report
from benchmarks.report_page.write import Extra, write_page
from refinemask.files import UserError
from refinemask.page.document import Section
from tests.support.html_page import Reader, require_alone
from tests.support.page_reports import make_page_report, with_others

RESULTS = Path(__file__).resolve().parents[3] / "benchmarks" / "results"
LARGEST = 5_000_000
"""Bytes that a page must not have."""


def page_of(report: ComparisonReport | EfficiencyReport, directory: Path, *extras: Extra) -> tuple[str, Reader]:
    path = directory / "page.html"
    write_page(report, path, *extras)
    assert path.stat().st_size < LARGEST
    text = path.read_text("utf-8")
    assert not re.search(r"\bnan\b", text)
    return text, require_alone(text)


def row_of(page: Reader, start: str) -> list[str]:
    return next(row for row in page.rows if row and row[0].startswith(start))


def signed(value: float) -> str:
    return f"{100 * value:+.2f}".replace("-", "−")


def speedup(engine: EngineReport, first: EngineReport) -> str:
    """The first engine has no interval, nor has any engine of an old report."""
    ratio = engine.speedup
    interval = "" if engine is first or ratio.low is None else f" {ratio.low:.2f} to {ratio.high:.2f}"
    return f"{ratio.p50:.2f}×{interval}"


def expected(engine: EngineReport, first: EngineReport) -> list[str]:
    assert engine.accuracy is not None
    assert engine.detail is not None
    assert first.accuracy is not None
    cells = [f"{engine.fps:.2f}", speedup(engine, first), f"{engine.fps_end_to_end:.2f}"]
    for kind in ("segm", "boundary"):
        ap, value = engine.detail.ap[kind], engine.accuracy[kind]["AP"]
        cells.append(f"{100 * value:.2f} {100 * ap.low:.2f} to {100 * ap.high:.2f}")
        if engine is first:
            cells.append("")
            continue
        change = engine.detail.change[kind]
        difference = signed(value - first.accuracy[kind]["AP"])
        cells.append(f"{difference} {signed(change.low)} to {signed(change.high)}")
    return [*cells, f"{engine.detections_per_image.mean:.1f}", f"{engine.peak_memory_mib:,.0f}"]


def test_the_table_has_the_numbers_of_the_report(tmp_path: Path) -> None:
    report = make_page_report()
    _, page = page_of(report, tmp_path)
    for number, engine in enumerate(report.engines, 1):
        assert row_of(page, f"{number}{engine.name}")[1:] == expected(engine, report.engines[0])


def test_phases_and_quantiles_are_those_of_the_report(tmp_path: Path) -> None:
    report = make_page_report(2)
    _, page = page_of(report, tmp_path)
    rows = [row for row in page.rows if row and row[0].startswith("2ONNX")]
    latency = report.engines[1].latency_ms
    assert [f"{figures.p50:.2f}" for figures in latency.values()] in [row[1:] for row in rows]
    engine = latency["engine"]
    spread = next(row for row in rows if row[1] == f"{engine.n}")
    assert [spread[2], spread[5], spread[7]] == [f"{value:.2f}" for value in (engine.min, engine.p50, engine.p95)]


def test_curves_are_those_of_the_report(tmp_path: Path) -> None:
    report = make_page_report(2)
    _, page = page_of(report, tmp_path)
    detail = report.engines[1].detail
    assert detail is not None
    for name, precision in detail.precision_recall["segm"].items():
        assert [f"{value:.3f}" for value in precision[::10]] in [row[1:] for row in page.rows], name


def test_provenance_and_the_exact_command(tmp_path: Path) -> None:
    report = make_page_report(2)
    _, page = page_of(report, tmp_path)
    assert report.command in page.texts
    assert row_of(page, "date")[1] == report.provenance.date
    assert row_of(page, "numpy")[1] == report.provenance.versions["numpy"]
    assert row_of(page, "threads")[1] == f"{report.settings.threads}"


@pytest.mark.parametrize(
    "name",
    ["cpu-nuclei", "cpu-r50-800x1344", "cpu-nuclei-precision", "cpu-nuclei-quantised"],
)
def test_stored_reports_have_pages(name: str, tmp_path: Path) -> None:
    report = read_report(ComparisonReport, RESULTS / f"{name}.json")
    _, page = page_of(report, tmp_path)
    for number, engine in enumerate(report.engines, 1):
        row = row_of(page, f"{number}{engine.name} {engine.precision}")
        assert row[1:3] == [f"{engine.fps:.2f}", speedup(engine, report.engines[0])]


@pytest.mark.parametrize(
    "options",
    [
        {"engines": 1, "rounds": 1, "classes": 1},
        {"engines": 1, "accuracy": False},
        {"engines": 3, "rounds": 5, "accuracy": False},
        {"engines": 30, "rounds": 20, "classes": 1203},
        {"engines": 5, "rounds": 5000, "classes": 80},
    ],
)
def test_any_number_of_anything(options: dict[str, Any], tmp_path: Path) -> None:
    report = make_page_report(**options)
    _, page = page_of(report, tmp_path)
    assert sum(text.endswith("samples") or " samples: " in text for text in page.texts) >= len(report.engines)
    assert any("so many are drawn" in text for text in page.texts) == (len(report.rounds) > 400)
    assert ("Speed against accuracy" in page.texts) == options.get("accuracy", True)


def test_figures_without_objects_are_dashes(tmp_path: Path) -> None:
    report = make_page_report(2)
    nothing = {kind: {"AP": -1.0, "APs": -1.0} for kind in ("bbox", "segm", "boundary")}
    engines = [replace(engine, accuracy=nothing, detail=None) for engine in report.engines]
    _, page = page_of(replace(report, engines=tuple(engines)), tmp_path)
    assert row_of(page, "2ONNX")[4:8] == ["–"] * 4
    assert not [cell for row in page.rows for cell in row if re.match("[-−]1", cell)]


@pytest.mark.parametrize(
    "evil", ["<script>alert(1)</script>", "\"><img src=x onerror='x'>", "&lt;b&gt;", "x" * 300, "\ud800"]
)
def test_names_are_text_whatever_they_are(evil: str, tmp_path: Path) -> None:
    report = make_page_report(3, 8, 20)
    engines = []
    for engine in report.engines:
        assert engine.detail is not None
        classes = {
            kind: {f"{evil} {name}": ap for name, ap in aps.items()} for kind, aps in engine.detail.per_class.items()
        }
        engines.append(replace(engine, engine=evil, name=evil, detail=replace(engine.detail, per_class=classes)))
    report = replace(report, engines=tuple(engines), command=evil, skipped=(evil,))
    _, page = page_of(report, tmp_path)
    assert {"script", "img"} & page.tags == set()
    written = evil.encode("utf-8", "backslashreplace").decode()
    assert written in page.texts
    assert any(row[0] == f"{written} class 3" for row in page.rows if row)


def test_detectors_that_were_not_run_have_stated_speeds_and_their_own_accuracy(tmp_path: Path) -> None:
    report = with_others(make_page_report(2))
    text, page = page_of(report, tmp_path)
    [stated, boxes] = report.others or ()
    change = stated.detail.change["segm"] if stated.detail else None
    assert change is not None
    row = row_of(page, "3Theirs, not run")
    assert row[1:4] == ["80.00 stated", f"{stated.stated_speedup:.2f}× stated", ""]
    assert row[5] == f"{signed(change.value)} {signed(change.low)} to {signed(change.high)}"
    assert row_of(page, "4Boxes, not run")[1:] == ["", "", "", "–", "–", "–", "–", "20.0", ""]
    # In both planes and among the speed-ups of the engine phase; who stated no speed has no mark there.
    assert text.count('class="ring stated c2"') == 3
    assert 'class="ring stated c3"' not in text
    assert ["4Boxes, not run", f"{100 * boxes.accuracy['bbox']['AP']:.2f}"] in [row[:2] for row in page.rows]


def test_energy_has_a_column_where_it_was_counted(tmp_path: Path) -> None:
    report = make_page_report(2)
    _, page = page_of(report, tmp_path)
    assert row_of(page, "engine")[-1] == "peak MiB"
    engines = report.engines[0], replace(report.engines[1], joules_per_image=2.345)
    _, page = page_of(replace(report, engines=engines), tmp_path)
    assert row_of(page, "engine")[-1] == "J per image"
    assert [row_of(page, start)[-1] for start in ("1PyTorch", "2ONNX")] == ["unknown", "2.35"]


def test_a_section_of_the_caller_stands_before_the_provenance(tmp_path: Path) -> None:
    extra = Extra(Section("pictures", "Pictures", "<p>masks</p>"), style=".x{top:0}", script="let x;")
    text, page = page_of(make_page_report(2), tmp_path, extra)
    assert 0 < text.index('id="curves"') < text.index("<p>masks</p>") < text.index('id="provenance"')
    assert "let x;" in page.texts


def test_the_efficiency_table_has_a_page(tmp_path: Path) -> None:
    report = read_report(EfficiencyReport, RESULTS / "efficiency-800x1344.json")
    _, page = page_of(report, tmp_path)
    backend = report.backends[-1]
    rows = [row for row in page.rows if row and row[0].startswith("4RefineMask")]
    engine, model = backend.engines[3], report.models[3]
    assert [f"{engine.fps:.3g}", f"{engine.speedup.p50:.2f}×"] in [row[1:3] for row in rows]
    published = [f"{model.parameters / 1e6:.1f}", f"{model.gflops:.0f}", f"{model.published.fps:.1f}"]
    assert published in [row[1:4] for row in rows]
    assert "Speed against accuracy" not in page.texts
    judged = replace(engine, accuracy={"segm": {"AP": 0.4}}, detail=make_page_report(1).engines[0].detail)
    engines = tuple(replace(judged, name=each.name) for each in backend.engines)
    _, page = page_of(replace(report, backends=(replace(backend, engines=engines),)), tmp_path)
    assert "Speed against accuracy" in page.texts
    assert row_of(page, "4RefineMask")[6] == "40.00 51.90 to 55.90"
    _, page = page_of(replace(report, backends=()), tmp_path)
    assert "Nothing was measured yet." in page.texts


def test_no_file_is_written_for_none_nor_over_a_directory(tmp_path: Path) -> None:
    write_page(make_page_report(1, 1), None)
    with pytest.raises(UserError, match="is a directory"):
        write_page(make_page_report(1, 1), tmp_path)
    assert list(tmp_path.iterdir()) == []
