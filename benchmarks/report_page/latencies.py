"""Where the time goes, and how it is spread over the rounds."""

from collections.abc import Sequence

from benchmarks.harness.report import EngineReport
from refinemask.page.series import Series
from refinemask.page.stacked_bars import StackedBar, stacked_bars
from refinemask.page.strips import MOST_DOTS, QUANTILES, Strip, strips
from refinemask.page.tables import details, numbers

SPREADS = {"engine": "Engine phase", "total": "All phases together"}


def phases(engines: Sequence[EngineReport], series: Sequence[Series], batch: int) -> str:
    """The median latency of each phase; empty if none was measured."""
    pairs = [(each, engine.latency_ms) for each, engine in zip(series, engines, strict=True) if engine.latency_ms]
    if not pairs:
        return ""
    bars = [
        StackedBar(
            each,
            {phase: figures.p50 for phase, figures in latency.items() if phase != "total"},
            f"{latency['total'].p50:,.2f} ms" if "total" in latency else "",
        )
        for each, latency in pairs
    ]
    names = list(dict.fromkeys(phase for _, latency in pairs for phase in latency))
    rows = [
        [each.html, *(f"{latency[name].p50:.2f}" if name in latency else "" for name in names)]
        for each, latency in pairs
    ]
    return (
        f'<figure class="card">{stacked_bars(bars, f"ms of a batch of {batch}")}'
        '<p class="caption">A bar adds up the medians of the phases. The number is the median of all phases '
        f"together.</p>{numbers(['median, ms', *names], rows)}</figure>"
    )


def distributions(engines: Sequence[EngineReport], series: Sequence[Series]) -> str:
    """All samples of the engine phase, and those of all phases together on demand; empty if there are none."""
    charts = {name: _distribution(engines, series, phase) for phase, name in SPREADS.items()}
    engine, total = charts.values()
    if not engine:
        return ""
    more = details(list(SPREADS.values())[1], total) if total else ""
    return f'<div class="card"><h3>{SPREADS["engine"]}</h3>{engine}{more}</div>'


def _distribution(engines: Sequence[EngineReport], series: Sequence[Series], phase: str) -> str:
    rows = [
        Strip(each, engine.samples_ms[phase])
        for each, engine in zip(series, engines, strict=True)
        if engine.samples_ms.get(phase)
    ]
    if not rows:
        return ""
    thinned = (
        f" Of more than {MOST_DOTS} samples, so many are drawn, evenly spread over their order; the quantiles are of "
        "all."
        if any(row.thinned for row in rows)
        else ""
    )
    table = numbers(
        ["latency, ms", "samples", "min", *(f"p{100 * quantile:.0f}" for quantile in QUANTILES), "max"],
        [
            [
                row.series.html,
                f"{len(row.samples):,}",
                *(f"{value:.2f}" for value in (min(row.samples), *row.quantiles(), max(row.samples))),
            ]
            for row in rows
        ],
    )
    return (
        f'<figure>{strips(rows, "ms")}<p class="caption">A dot is a round. The box reaches from quartile to quartile '
        "around the median, whose number stands on the right. The whiskers end where 5 % are below and above, and the "
        f"short tick is at 99 %.{thinned}</p>{table}</figure>"
    )
