"""The sections of a page about the paper's efficiency table."""

from collections.abc import Sequence
from html import escape

from benchmarks.efficiency.report import BackendReport, EfficiencyReport
from benchmarks.efficiency.table import ACCURACY
from benchmarks.harness.report import EngineReport
from benchmarks.harness.tables import points
from benchmarks.report_page.flags import flags
from benchmarks.report_page.latencies import distributions, phases
from benchmarks.report_page.names import estimate_interval, ratio_interval, ratio_text, with_interval
from benchmarks.report_page.origin import origin
from benchmarks.report_page.speed_accuracy import BETTER, ratio_interval_of, speed_cards
from refinemask.page.document import Section
from refinemask.page.intervals import intervals
from refinemask.page.series import Series, key
from refinemask.page.stacked_bars import StackedBar, stacked_bars
from refinemask.page.tables import details, table
from refinemask.page.tiles import Tile, tiles


def efficiency_title(report: EfficiencyReport) -> str:
    """The title of the page."""
    return f"{len(report.models)} models on {report.device}"


def efficiency_sections(report: EfficiencyReport) -> list[Section]:
    """The sections, of which those that the report has nothing for are empty; the last is its provenance."""
    series = [Series(number, model.name) for number, model in enumerate(report.models, 1)]
    parts = [Section("verdict", "Verdict", _verdict(report))]
    if report.backends:
        parts += [
            Section("flags", "Before you trust it", flags(report.backends)),
            Section("ratios", f"Speed beside {report.models[0].name}", _ratios(report, series)),
            Section("engines", "Engines", _engines(report, series)),
            Section("speed-accuracy", "Speed against accuracy", _speed_accuracy(report, series)),
            Section("speeds", "Images per second", _speeds(report.backends, series)),
        ]
    parts.append(Section("models", "Models, and what was published", _models(report, series)))
    for place, backend in enumerate(report.backends):
        name, batch = backend_name(backend), report.inputs.settings.batch
        html = phases(backend.engines, series, batch) + distributions(backend.engines, series)
        parts.append(Section(f"latencies-{place + 1}", f"Latencies: {name}", html))
    last = report.backends[-1] if report.backends else None
    provenance = origin(last, last.command) if last else "<p>Nothing was measured yet.</p>"
    return [*parts, Section("provenance", "Provenance", provenance)]


def backend_name(backend: BackendReport) -> str:
    """Runtime and precision."""
    return f"{backend.engines[0].name} {backend.engines[0].precision}"


def _verdict(report: EfficiencyReport) -> str:
    """The last model, which the table is about, on the backend where it is the fastest."""
    if not report.backends:
        return '<p class="verdict neutral">Nothing was measured yet.</p>'
    name, first = report.models[-1].name, report.models[0].name
    backend = max(report.backends, key=lambda each: each.engines[-1].fps)
    engine = backend.engines[-1]
    ratio = with_interval(ratio_text(engine.speedup), ratio_interval(engine.speedup))
    sentence = f"{name} runs fastest on {backend_name(backend)}, at {ratio} the speed of {first} there."
    published = report.models[-1].published.fps / report.models[0].published.fps
    shown = [
        Tile(f"{engine.fps:.3g}", f"{name} on {backend_name(backend)}, images per second"),
        Tile(ratio_text(engine.speedup), f"times {first} on the same engine", ratio_interval(engine.speedup)),
        Tile(f"{published:.2f}×", "the same ratio, published"),
        Tile(report.inputs.weights, "weights", words=True),
    ]
    return f'<p class="verdict neutral">{escape(sentence)}</p>{tiles(shown)}'


def _ratios(report: EfficiencyReport, series: Sequence[Series]) -> str:
    cards = []
    unit = f"times the speed of {report.models[0].name}"
    for backend in report.backends:
        figures = [
            ratio_interval_of(each, engine.speedup) for each, engine in zip(series, backend.engines, strict=True)
        ]
        if len(figures) > 1:
            drawn = intervals(figures[1:], unit, zero=1.0, least=0.5)
            cards.append(f'<figure class="card"><h3>{escape(backend_name(backend))}</h3>{drawn}</figure>')
    return f'<div class="cards">{"".join(cards)}</div>' if cards else ""


def _speed_accuracy(report: EfficiencyReport, series: Sequence[Series]) -> str:
    unit = f"times the speed of {report.models[0].name}"
    cards = "".join(
        speed_cards(list(zip(series, backend.engines, strict=True)), unit, backend_name(backend))
        for backend in report.backends
    )
    return f'<div class="cards">{cards}</div>{key(series)}<p class="caption">{BETTER}</p>' if cards else ""


def _speeds(backends: Sequence[BackendReport], series: Sequence[Series]) -> str:
    cards = []
    for backend in backends:
        bars = [
            StackedBar(each, {"engine phase": engine.fps}, f"{engine.fps:.3g}")
            for each, engine in zip(series, backend.engines, strict=True)
        ]
        drawn = stacked_bars(bars, "images per second, engine phase")
        cards.append(f'<figure class="card"><h3>{escape(backend_name(backend))}</h3>{drawn}</figure>')
    return f'<div class="cards">{"".join(cards)}</div><p class="caption">Each engine has an axis of its own.</p>'


def _engines(report: EfficiencyReport, series: Sequence[Series]) -> str:
    """The terminal's table, one for each backend."""
    on_cpu = report.inputs.settings.device == "cpu"
    measured = report.backends[0].engines[0].accuracy or {}
    accuracy = [name for name, kind in ACCURACY.items() if kind in measured]
    headings = [
        "FPS",
        "ratio",
        "end to end",
        "ratio end to end",
        "peak MiB" if on_cpu else "GPU MiB",
        *accuracy,
        "detections",
    ]
    return "".join(
        '<div class="card">'
        + table(
            [backend_name(backend), *headings],
            [
                [each.html, *_cells(engine, on_cpu, accuracy)]
                for each, engine in zip(series, backend.engines, strict=True)
            ],
        )
        + "</div>"
        for backend in report.backends
    )


def _cells(engine: EngineReport, on_cpu: bool, accuracy: Sequence[str]) -> list[str]:
    memory = engine.peak_memory_mib if on_cpu else engine.device_memory_mib
    ratios = [
        f"{ratio_text(ratio)}<small>{ratio_interval(ratio)}</small>"
        for ratio in (engine.speedup, engine.speedup_end_to_end)
    ]
    return [
        f"{engine.fps:.3g}",
        ratios[0],
        f"{engine.fps_end_to_end:.3g}",
        ratios[1],
        "unknown" if memory is None else f"{memory:,.0f}",
        *(_ap_cell(engine, ACCURACY[name]) for name in accuracy),
        f"{engine.detections_per_image.mean:.1f}",
    ]


def _ap_cell(engine: EngineReport, kind: str) -> str:
    value = (engine.accuracy or {}).get(kind, {}).get("AP", -1.0)
    bounds = estimate_interval(engine.detail.ap.get(kind) if engine.detail else None)
    return points(value) + (f"<small>{bounds}</small>" if bounds else "")


def _models(report: EfficiencyReport, series: Sequence[Series]) -> str:
    headings = ["model", "parameters M", "GFLOPs", "published FPS", "published ratio", "published AP", "published AP*"]
    first = report.models[0].published.fps
    rows = [
        [
            each.html,
            f"{model.parameters / 1e6:.1f}",
            f"{model.gflops:.0f}",
            f"{model.published.fps:.1f}",
            f"{model.published.fps / first:.2f}×",
            f"{model.published.ap:.1f}",
            f"{model.published.ap_star:.1f}",
        ]
        for each, model in zip(series, report.models, strict=True)
    ]
    parts = list(dict.fromkeys(part for model in report.models for part in model.gflops_by_part))
    by_part = [
        [each.html, *(f"{model.gflops_by_part.get(part, 0.0):.0f}" for part in parts)]
        for each, model in zip(series, report.models, strict=True)
    ]
    note = f'<p class="caption">Published figures: {escape(report.published_at)}.</p>'
    more = details("GFLOPs by part", table(["model", *parts], by_part)) if parts else ""
    return f'<div class="card">{table(headings, rows)}{note}{more}</div>'
