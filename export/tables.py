"""An export for the terminal: how near the file is to what it was made from, and what it lacks."""

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from export.verified_export import ExportReport
from refinemask.agreement import Comparison, MismatchError, Parity


def comparison_table(comparisons: Sequence[Comparison], parity: Parity, title: str) -> Table:
    """A table with a row for each batch, which shows the worst of the matched detections."""
    table = Table(title=title)
    for heading in ("images", "matched", "unmatched", "agree", "Δ box px", "Δ score", "mask IoU"):
        table.add_column(heading, justify="right", no_wrap=True)
    for comparison in comparisons:
        extremes = ("-", "-", "-")
        boxes, scores, masks = comparison.boxes, comparison.scores, comparison.masks
        if len(boxes):
            extremes = (f"{boxes.max():.1e}", f"{scores.max():.1e}", f"{masks.min():.4f}")
        counts = (len(boxes), comparison.unmatched, comparison.agreeing(parity))
        table.add_row("{}x{}x{}".format(*comparison.shape), *map(str, counts), *extremes)
    return table


def print_export(found: ExportReport | MismatchError) -> None:
    """Print how near a file is to PyTorch; of a file that was written, also what remains unverified or is refused."""
    console = Console()
    console.print(comparison_table(found.comparisons, found.parity, "ONNX Runtime against PyTorch fp32, worst of each"))
    if isinstance(found, MismatchError):
        return
    if not found.has_detections:
        console.print("[yellow]No picture has a detection[/]: boxes and masks remain unverified; try --verify-images")
    for finding in found.refusals:
        console.print(f"[yellow]TensorRT will refuse[/] {escape(str(finding))}", soft_wrap=True)
    # A path may be longer than the terminal is wide, and hold what would be markup.
    print(f"{found.output}: written and verified")
