"""The comparisons of a file with what it was made from, as a table for the terminal."""

from collections.abc import Sequence

from rich.table import Table

from export.verify import Comparison, Parity


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
