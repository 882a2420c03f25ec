"""What a page says of a report in words: the verdict, the flags, and which classes changed most."""

from dataclasses import replace

import pytest

from benchmarks.harness.device_state import DeviceState
from benchmarks.harness.report import ComparisonReport, Estimate, Outcome, RoundReport
from benchmarks.report_page import changes
from benchmarks.report_page.changes import by_class, by_size
from benchmarks.report_page.flags import flags
from benchmarks.report_page.names import engine_series
from benchmarks.report_page.verdict import verdict
from tests.support.html_page import Reader
from tests.support.page_reports import make_page_report


def text_of(html: str) -> str:
    return " ".join(Reader(html).texts)


def with_change(low: float, high: float) -> ComparisonReport:
    """Two engines whose mask AP differs with this interval."""
    report = make_page_report(2)
    first, second = report.engines
    assert second.detail is not None
    change = {**second.detail.change, "segm": Estimate((low + high) / 2, low, high)}
    return replace(report, engines=(first, replace(second, detail=replace(second.detail, change=change))))


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (-0.01, -0.002, "worse by more than chance"),
        (0.001, 0.002, "better by more than chance"),
        (-0.01, 0.01, "no more than chance"),
    ],
)
def test_a_change_is_judged_by_its_interval(low: float, high: float, words: str) -> None:
    assert words in text_of(verdict(with_change(low, high)))


def test_the_fastest_engine_is_named_with_its_interval() -> None:
    report = make_page_report(4)
    ratio = report.engines[3].speedup
    text = text_of(verdict(report))
    assert f"OpenVINO bf16 is the fastest: {ratio.p50:.2f}× ({ratio.low:.2f} to {ratio.high:.2f})" in text


def test_nothing_is_compared_with_one_engine_or_with_slower_ones() -> None:
    assert "nothing to compare it with" in text_of(verdict(make_page_report(1)))
    report = make_page_report(5)
    slower = replace(report, engines=(report.engines[0], report.engines[4]))
    assert "No engine is faster than the first, PyTorch fp32." in text_of(verdict(slower))


def test_latencies_of_a_busy_machine_are_not_to_be_trusted() -> None:
    report = make_page_report(2, 8)
    rounds = tuple(RoundReport(each.batch, each.order, 0.5 if each.batch == 3 else 0.0) for each in report.rounds)
    busy = replace(report, foreign_load=0.06, rounds=rounds)
    assert "do not trust these latencies" in text_of(verdict(busy))
    text = text_of(flags([busy]))
    assert "Other programs used 6.0% of the CPUs" in text
    assert "In 1 of 8 rounds" in text
    assert "round 4 (50%)" in text
    assert "do not trust" not in text_of(flags([report])) + text_of(verdict(report))


def test_a_throttled_gpu_is_a_flag() -> None:
    report = make_page_report(2, 8)
    slow = DeviceState(sm_mhz=1980, throttling=("software power cap",))
    rounds = tuple(replace(each, state=slow) for each in report.rounds)
    assert "The GPU was throttled (software power cap in 8 of 8 rounds)" in text_of(
        flags([replace(report, rounds=rounds)])
    )


def test_requirements_are_flags() -> None:
    report = make_page_report(2, 8)
    met = Outcome(requirement="ΔAP >= -1", engine="other", met=True, value=-0.1, judged=-0.2)
    assert "All that was required is met: ΔAP >= -1" in text_of(flags([replace(report, requirements=(met, met))]))
    failed = Outcome(requirement="AP >= 50", engine="other", met=False, value=51.0, judged=49.0)
    text = text_of(flags([replace(report, requirements=(met, failed))]))
    assert "not met Required: AP >= 50. other has 51.00, and 49.00 at the worse end" in text
    assert "All that" not in text


def test_skipped_images_missing_intervals_and_unknown_load_are_flags() -> None:
    report = replace(make_page_report(2, 4), skipped=("a.png", "b.png"), foreign_load=None)
    text = text_of(flags([report, report]))
    assert text.count("2 images were left out") == 1
    assert "a.png, b.png" in text
    assert "fewer than 6 rounds" in text
    assert "unknown" in text
    assert "Nothing stood out" in text_of(flags([make_page_report(2)]))


def test_classes_are_sorted_by_their_change_and_those_without_objects_are_left_out() -> None:
    first, second = make_page_report(2, classes=30).engines
    rows = by_class(second, first)
    assert len(rows) == 30
    sizes = [abs(row.value) for row in rows]
    assert sizes == sorted(sizes, reverse=True)
    assert second.detail is not None
    assert first.detail is not None
    name = rows[0].name
    change = second.detail.per_class["segm"][name] - first.detail.per_class["segm"][name]
    assert rows[0].value == pytest.approx(100 * change)


def test_sizes_without_objects_are_left_out() -> None:
    first, second = make_page_report(2).engines
    assert [row.name for row in by_size(second, first)] == [
        f"{kind}, {size}" for kind in ("boxes", "masks", "boundaries") for size in ("small", "medium")
    ]


def test_what_is_not_listed_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "MOST_ROWS", 40)
    text = text_of(changes.size_and_class_changes(make_page_report(3, 6, 1203)))
    assert "20 classes as a table" in text
    assert "The JSON has 1,183 more" in text


def test_engines_of_one_runtime_are_told_apart_by_their_files() -> None:
    engine = make_page_report(1).engines[0]
    names = [each.name for each in engine_series([engine, replace(engine, engine="other.onnx")])]
    assert names == ["PyTorch fp32, model-0.onnx@pytorch:fp32", "PyTorch fp32, other.onnx"]
    assert [each.name for each in engine_series([engine])] == ["PyTorch fp32"]
