"""The result of a search for layers to keep, for the terminal."""

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from refinemask.kept_layers import KeptLayers


def print_kept_layers(console: Console, kept: KeptLayers) -> None:
    """Print what was reached, by how many images and in which engine that was judged, and a row for each kept layer."""
    losses = [
        f"{name} AP {before:.2f} → {after:.2f} ({after - before:+.2f})"
        for name, before, after in (
            ("mask", kept.source.mask, kept.reached.mask),
            ("boundary", kept.source.boundary, kept.reached.boundary),
        )
    ]
    judges = f"judged by {kept.images} images in {kept.backend}"
    print(f"{', '.join(losses)}; {judges}, at most {kept.max_drop:g} points allowed")
    if not kept.layers:
        print("no layer had to be kept in higher precision")
        return
    table = Table(title="Layers kept in higher precision, and the noise of each one alone in 8 bits")
    table.add_column("layer", overflow="fold")
    table.add_column("noise", justify="right", no_wrap=True)
    for name, noise in kept.layers.items():
        table.add_row(escape(name), f"{noise:.1e}")
    console.print(table)
