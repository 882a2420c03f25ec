"""The benchmark of a served model as tables for a terminal."""

from statistics import median

from rich.table import Table

from benchmarks.serving.report import LoadReport, ServingReport


def tables(report: ServingReport) -> list[Table]:
    """A table of the loads, medians of the rounds, and one of the answers."""
    title = f"{report.engine} {report.precision}, {report.device}: images decoded, resized and pasted in …"
    loads = Table(title=title)
    for heading in ("where", "by"):
        loads.add_column(heading)
    for heading in ("clients", "images/s", "p50 ms", "p90 ms", "p99 ms", "images a batch"):
        loads.add_column(heading, justify="right")
    for group in grouped(report):
        loads.add_row(*_cells(group))
    answers = Table(title=f"Bytes of an answer, {report.objects:.1f} objects in an image")
    for heading in ("response", "mean", "largest"):
        answers.add_column(heading, justify="left" if heading == "response" else "right")
    for each in report.answers:
        answers.add_row(each.response, f"{each.mean:,.0f}", f"{each.largest:,}")
    return [loads, answers]


def grouped(report: ServingReport) -> list[list[LoadReport]]:
    """The rounds of each way, protocol and number of clients, in the order in which these were measured first."""
    groups: dict[tuple[str, str, int], list[LoadReport]] = {}
    for load in report.loads:
        groups.setdefault((load.way, load.protocol, load.clients), []).append(load)
    return list(groups.values())


def _cells(group: list[LoadReport]) -> list[str]:
    first = group[0]
    unsteady = "" if all(each.is_stable for each in group) else " unsteady"
    together = [each.images_per_execution for each in group if each.images_per_execution is not None]
    latencies = [[getattr(each.latency_ms, name) for each in group] for name in ("p50", "p90", "p99")]
    return [
        first.way,
        first.protocol,
        str(first.clients),
        f"{median(each.images_per_second for each in group):.2f}{unsteady}",
        *(f"{median(values):.1f}" for values in latencies),
        f"{median(together):.2f}" if together else "",
    ]
