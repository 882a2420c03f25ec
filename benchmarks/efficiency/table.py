"""The efficiency report as tables for a terminal: what the models are, and what the engines make of them."""

from rich.console import Console
from rich.table import Table

from benchmarks.harness.report import Report, conditions, points, terminal, warn_if_busy

ACCURACY = {"AP": "segm", "AP*": "ap_star", "boundary AP": "boundary"}


def print_table(report: Report, console: Console | None = None) -> None:
    """Print both tables and the conditions; every × is to Mask R-CNN, in the same row's engine."""
    console = console or terminal()
    console.print(_models(report))
    if report["backends"]:
        console.print(_engines(report))
        loads = [backend["foreign_load"] for backend in report["backends"] if backend["foreign_load"] is not None]
        busiest = max(loads, default=None)
        console.print(conditions({**report["backends"][-1], "foreign_load": busiest}), soft_wrap=True)
        warn_if_busy(busiest)


def _models(report: Report) -> Table:
    height, width = report["inputs"]["settings"]["canvas"]
    table = Table(title=f"Models (GFLOPs at {height}×{width}; published figures: {report['published_at']})")
    table.add_column("model")
    for heading in ("parameters M", "×", "GFLOPs", "×", "published FPS", "×", "published AP", "published AP*"):
        table.add_column(heading, justify="right")
    first = report["models"][0]
    for model in report["models"]:
        published = model["published"]
        table.add_row(
            model["name"],
            *_with_ratio(model["parameters"] / 1e6, first["parameters"] / 1e6, "{:.1f}"),
            *_with_ratio(model["gflops"], first["gflops"], "{:.0f}"),
            *_with_ratio(published["fps"], first["published"]["fps"], "{:.1f}"),
            f"{published['ap']:.1f}",
            f"{published['ap_star']:.1f}",
        )
    return table


def _engines(report: Report) -> Table:
    weights = report["inputs"]["weights"]
    table = Table(title=f"Engines ({weights} weights; ratios of FPS are medians of those of each round)")
    for heading in ("engine", "model"):
        table.add_column(heading)
    measured = report["backends"][0]["engines"][0].get("accuracy", {})
    accuracy = [name for name, kind in ACCURACY.items() if kind in measured]
    on_cpu = report["inputs"]["settings"]["device"] == "cpu"
    memory_heading, memory_key = ("peak MiB", "peak_memory_mib") if on_cpu else ("GPU MiB", "device_memory_mib")
    for heading in ("FPS", "×", "end to end", "×", memory_heading, "×", *accuracy, "detections"):
        table.add_column(heading, justify="right")
    for backend in report["backends"]:
        first = backend["engines"][0]
        for model, engine in zip(report["models"], backend["engines"], strict=True):
            memory = engine[memory_key]
            table.add_row(
                f"{engine['name']} {engine['precision']}" if engine is first else "",
                model["name"],
                f"{engine['fps']:.3g}",
                f"{engine['speedup']['p50']:.2f}",
                f"{engine['fps_end_to_end']:.3g}",
                f"{engine['speedup_end_to_end']['p50']:.2f}",
                *(("unknown", "") if memory is None else _with_ratio(memory, first[memory_key], "{:.0f}")),
                *(points(engine["accuracy"][ACCURACY[name]]["AP"]) for name in accuracy),
                f"{engine['detections_per_image']['mean']:.1f}",
                end_section=engine is backend["engines"][-1],
            )
    return table


def _with_ratio(value: float, baseline: float, form: str) -> tuple[str, str]:
    return form.format(value), f"{value / baseline:.2f}"
