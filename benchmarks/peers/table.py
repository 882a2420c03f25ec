"""Mask R-CNN here and in torchvision as a table for a terminal."""

from rich.table import Table

from benchmarks.peers.report import TorchvisionReport


def table(report: TorchvisionReport) -> Table:
    """Contenders in the order in which they are listed; speed-ups are against torchvision in PyTorch."""
    table = Table(title="Mask R-CNN R50: medians, and ratios paired per round to torchvision in eager PyTorch")
    for heading in ("network", "engine"):
        table.add_column(heading)
    for heading in ("detections", "ms", "speed-up", "quartiles", "peak MiB"):
        table.add_column(heading, justify="right")
    for each in report.contenders:
        ratio = each.speedup
        table.add_row(
            each.network,
            each.engine,
            str(each.detections),
            f"{each.latency_ms.p50:.1f}",
            f"{ratio.p50:.2f}×",
            f"{ratio.p25:.2f} – {ratio.p75:.2f}",
            f"{each.peak_memory_mib:.0f}",
        )
    return table
