"""A report as one file of HTML that needs nothing beside it."""

import os
from dataclasses import dataclass

from benchmarks.efficiency.report import EfficiencyReport
from benchmarks.harness.report import ComparisonReport
from benchmarks.report_page.comparison import comparison_sections, comparison_title
from benchmarks.report_page.efficiency import efficiency_sections, efficiency_title
from refinemask import __version__
from refinemask.files import atomic_write
from refinemask.page.document import Section, chapter, document

FOOTER = (
    f"Made by refinemask {__version__}. Intervals are of 95 %: of AP by a paired bootstrap over images, of speed-ups "
    "by order statistics of the ratios within the rounds. APs and their changes are in points of a hundred."
)


@dataclass(frozen=True)
class Extra:
    """A section that the page gets beside those of the report, such as pictures, before the provenance."""

    section: Section
    style: str = ""
    """CSS of it."""
    script: str = ""
    """JavaScript of it."""


def write_page(
    report: ComparisonReport | EfficiencyReport, path: str | os.PathLike[str] | None, *extras: Extra
) -> None:
    """Write a page, atomically; None is no file.

    Raises:
        UserError: the path cannot be written.
    """
    if path is None:
        return
    if isinstance(report, EfficiencyReport):
        title, parts = efficiency_title(report), efficiency_sections(report)
    else:
        title, parts = comparison_title(report), comparison_sections(report)
    *found, provenance = parts
    parts = [*found, *(extra.section for extra in extras), provenance]
    style, script = ("".join(texts) for texts in ((e.style for e in extras), (e.script for e in extras)))
    with atomic_write(path) as temporary, open(temporary, "w", encoding="utf-8", errors="backslashreplace") as file:
        body = chapter(title, parts, footer=FOOTER)
        file.writelines(document(title, body, style=style, script=script))
