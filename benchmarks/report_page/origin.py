"""Where the numbers come from, and how to get them again."""

from dataclasses import fields
from html import escape

from benchmarks.harness.provenance import Provenance
from benchmarks.harness.report import ComparisonReport
from benchmarks.harness.settings import Settings
from refinemask.page.tables import pairs, table


def origin(report: ComparisonReport, command: str | None) -> str:
    """Command, machine, settings, versions and hashes."""
    source = report.provenance
    typed = f"<pre><code>{escape(command)}</code></pre>" if command else '<span class="soft">not recorded</span>'
    cards = [_facts("Measured", _measured(report)), _facts("Settings", settings_rows(report.settings))]
    cards += [_facts("Versions", {"python": source.python, **source.versions})]
    facts = f'<div class="cards three">{"".join(cards)}</div>'
    return f'<div class="card"><h3>Command</h3>{typed}</div>{facts}{_files(source)}'


def _measured(report: ComparisonReport) -> dict[str, str]:
    source = report.provenance
    load = "unknown" if report.foreign_load is None else f"{report.foreign_load:.1%}"
    sizes = report.engines[0].padded_sizes if report.engines else {}
    return {
        "date": source.date,
        "revision": source.revision or "unknown",
        "CPU": source.cpu.model,
        "cores": "unknown" if source.cpu.cores is None else f"{source.cpu.cores}",
        "instructions": ", ".join(source.cpu.features) or "none of those that matter",
        "system": source.system,
        "foreign load": load,
        "images": f"{report.images:,}",
        "rounds": f"{len(report.rounds):,}",
        "padded sizes (batches)": ", ".join(f"{size} ({count:,})" for size, count in sizes.items()),
    }


def settings_rows(settings: Settings) -> dict[str, str]:
    """The settings by name."""
    rows = {}
    for each in fields(settings):
        value = getattr(settings, each.name)
        rows[each.name.replace("_", " ")] = "x".join(map(str, value)) if isinstance(value, tuple) else _word(value)
    return rows


def _word(value: object) -> str:
    words = {None: "not given", True: "yes", False: "no"}
    return words[value] if value is None or isinstance(value, bool) else str(value)


def _facts(title: str, rows: dict[str, str]) -> str:
    return f'<div class="card"><h3>{title}</h3>{pairs({name: escape(value) for name, value in rows.items()})}</div>'


def _files(source: Provenance) -> str:
    if not source.files:
        return ""
    rows = [
        [escape(name), f'<code class="path">{escape(file.sha256)}</code>', f"{file.bytes / 2**20:,.1f}"]
        for name, file in source.files.items()
    ]
    return f'<div class="card"><h3>Files</h3>{table(["file", "SHA-256", "MiB"], rows, texts=2)}</div>'
