"""The sections of a page about engines side by side."""

from benchmarks.harness.report import ComparisonReport
from benchmarks.report_page.changes import size_and_class_changes
from benchmarks.report_page.curves import precision_recall
from benchmarks.report_page.device import device
from benchmarks.report_page.engines import engine_table
from benchmarks.report_page.flags import flags
from benchmarks.report_page.latencies import distributions, phases
from benchmarks.report_page.names import engine_series, judged_series
from benchmarks.report_page.origin import origin
from benchmarks.report_page.requirements import requirements
from benchmarks.report_page.speed_accuracy import ap_changes, speed_accuracy, speed_ups
from benchmarks.report_page.verdict import verdict
from refinemask.page.document import Section


def comparison_title(report: ComparisonReport) -> str:
    """The title of the page."""
    noun = "engine" if len(report.engines) == 1 else "engines"
    return f"{len(report.engines)} {noun} on {report.images:,} image{'s' * (report.images != 1)}"


def comparison_sections(report: ComparisonReport) -> list[Section]:
    """The sections, of which those that the report has nothing for are empty; the last is its provenance."""
    series, engines = engine_series(report.engines), report.engines
    return [
        Section("verdict", "Verdict", verdict(report)),
        Section("requirements", "Requirements", requirements(report)),
        Section("flags", "Before you trust it", flags([report])),
        Section("engines", "Engines", engine_table(report)),
        Section("speed-accuracy", "Speed against accuracy", speed_accuracy(report)),
        Section("speed-ups", "Speed-ups", speed_ups(report)),
        Section("ap-changes", "Changes of AP", ap_changes(report)),
        Section("phases", "Where the time goes", phases(engines, series, report.settings.batch)),
        Section("latencies", "Latencies of all rounds", distributions(engines, series)),
        Section("device", "The GPU meanwhile", device(report)),
        Section("sizes-classes", "Changes by size and class", size_and_class_changes(report)),
        Section("curves", "Precision and recall", precision_recall(judged_series(report))),
        Section("provenance", "Provenance", origin(report, report.command)),
    ]
