"""The comparisons of a file with what it was made from, as a table for the terminal."""

from collections.abc import Sequence

from rich.table import Table

from export.verify import Comparison, Parity


def comparison_table(comparisons: Sequence[Comparison], parity: Parity, title: str) -> Table:
    """One row for each batch, with the worst of its matched detections."""
    table = Table(title=title)
    for heading in ("images", "matched", "unmatched", "agree", "Δ box px", "Δ score", "mask IoU"):
        table.add_column(heading, justify="right", no_wrap=True)
    for found in comparisons:
        extremes = ("-", "-", "-")
        if len(found.boxes):
            extremes = (f"{found.boxes.max():.1e}", f"{found.scores.max():.1e}", f"{found.masks.min():.4f}")
        counts = (len(found.boxes), found.unmatched, found.agreeing(parity))
        table.add_row("{}x{}x{}".format(*found.shape), *map(str, counts), *extremes)
    return table
