"""An export for the terminal: how near the file is to what it was made from, and what it lacks."""

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from export.verified_export import ExportReport
from refinemask.agreement import Comparison, MismatchError, Parity, StageCheck


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


def stage_table(stages: Sequence[StageCheck]) -> Table:
    """A table with a row for each stage, which shows the worst of all batches."""
    table = Table(title="Stages in ONNX Runtime, each against PyTorch fp32 on what the file's stages before it found")
    for heading in ("stage", "compared", "deviation", "farthest", "agrees"):
        table.add_column(heading, justify="left" if heading == "stage" else "right", no_wrap=True)
    for stage in dict.fromkeys(check.stage for check in stages):
        checks = [check for check in stages if check.stage == stage]
        extremes = (max(check.mean for check in checks), max(check.worst for check in checks))
        agrees = "no" if any(check.fault for check in checks) else "yes"
        table.add_row(
            stage, str(sum(check.compared for check in checks)), *(f"{each:.1e}" for each in extremes), agrees
        )
    return table


def print_export(found: ExportReport | MismatchError) -> None:
    """Print how near a file is to PyTorch; of a file that was written, also what remains unverified or is refused."""
    console = Console()
    console.print(stage_table(found.stages))
    title = "Detections against PyTorch fp32, worst of each (near-ties may differ)"
    console.print(comparison_table(found.comparisons, found.parity, title))
    if isinstance(found, MismatchError):
        return
    if not found.has_detections:
        console.print("[yellow]No picture has a detection[/]: boxes and masks remain unverified; try --verify-images")
    for finding in found.refusals:
        console.print(f"[yellow]TensorRT will refuse[/] {escape(str(finding))}", soft_wrap=True)
    # A path may be longer than the terminal is wide, and hold what would be markup.
    print(f"{found.output}: written and verified")
