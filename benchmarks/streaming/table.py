"""The benchmark of the pipeline as tables for a terminal."""

from rich.table import Table

from benchmarks.harness.summary import Ratio
from benchmarks.streaming.report import Speed, StreamingReport


def tables(report: StreamingReport) -> list[Table]:
    """A table of the detector that waits, and one of the rest."""
    waiting = _table("A detector that waits as for a GPU: images per second", "device", "at once", "limit")
    for each in report.waiting:
        cells = [_rate(each.serial), _rate(each.streamed), _rate(each.alone), _ratio(each.gain), _ratio(each.share)]
        limit = max(each.busy.limits, key=each.busy.limits.__getitem__)
        waiting.add_row(f"{each.milliseconds:g} ms", str(each.concurrency), limit, *cells)
    rest = _table("Images per second", "what", "images", "peak MiB")
    parts = [*report.engines, *([report.evaluation] if report.evaluation else [])]
    for part in parts:
        kind = "evaluation, " if part is report.evaluation else ""
        peaks = "" if part.peak_mib_serial is None else f"{part.peak_mib_serial}, then {part.peak_mib_streamed}"
        cells = [_rate(part.serial), _rate(part.streamed), "", _ratio(part.gain), ""]
        rest.add_row(f"{kind}{part.name} {part.precision}, {part.spec}", str(part.images), peaks, *cells)
    if video := report.video:
        peaks = f"{video.peak_mib_first}, then {video.peak_mib}"
        name = f"video {video.width}x{video.height}, limit {video.limit}"
        rest.add_row(name, str(video.frames), peaks, "", f"{video.images_per_second:.1f}", "", "", "")
    parts_of_host = ", ".join(f"{name} {each.median:.2f} ms" for name, each in report.host.milliseconds.items())
    rest.add_row(f"one core: {parts_of_host}", "", "", f"{report.host.images_per_second.median:.1f}", "", "", "", "")
    return [waiting, rest]


def _table(title: str, *headings: str) -> Table:
    table = Table(title=title)
    for heading in headings:
        table.add_column(heading)
    for heading in ("one by one", "pipeline", "engine alone", "gain", "share of alone"):
        table.add_column(heading, justify="right")
    return table


def _rate(speed: Speed) -> str:
    return f"{speed.images_per_second.median:.1f}"


def _ratio(ratio: Ratio) -> str:
    return f"{ratio.p50:.3f}"
