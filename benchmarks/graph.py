"""What a runtime has to do beside convolutions, counted from exported files: before and after a change, side by side.

python -m benchmarks.graph before.onnx after.onnx
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.table import Table

from benchmarks.harness.graph_bytes import longest_top_k, moved_bytes
from benchmarks.harness.provenance import Provenance, provenance
from benchmarks.harness.report_file import write_report
from benchmarks.harness.spec import require_new_output
from benchmarks.harness.terminal import terminal
from refinemask.command import execute
from refinemask.contract import DOMAIN, read_onnx
from refinemask.files import UserError
from refinemask.spelling import OptionalOutput

LEAST_BYTES = 1_000_000
"""Bytes from which on an operator has a row of the table."""


@dataclass(frozen=True, kw_only=True)
class Args:
    """Count the nodes of exported files and the bytes that they read and write; what bodies hold is not counted."""

    files: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="FILE…")]
    """Exported files (.onnx). The bytes need a file of one size (--static HEIGHTxWIDTH)."""
    output: OptionalOutput = None
    """Report to write (.json)."""


@dataclass(frozen=True, kw_only=True)
class GraphCount:
    """The nodes of one file."""

    file: str
    """Name of the file."""
    nodes: int
    casts: int
    transposes: int
    slices: int
    """Slice and Split."""
    gathers: int
    """Gather, GatherElements and GatherND."""
    top_k: int
    longest_top_k: int | None
    """Values along the longest axis that a TopK sorts; None without TopK, or where a size is not fixed."""
    custom: dict[str, int]
    """Nodes of each custom operator."""
    bytes: dict[str, int] | None
    """Bytes that the nodes of each operator read and write, most first; None where a size is not fixed."""


@dataclass(frozen=True, kw_only=True)
class GraphReport:
    """Files side by side."""

    provenance: Provenance
    files: tuple[GraphCount, ...]


def main(args: Args | None = None) -> int:
    """Print the counts as a table; exit code 2 where something given is wrong."""
    return execute(Args, _count_files, args, description=__doc__)


def _count_files(args: Args) -> None:
    if not args.files:
        raise UserError("no file given: python -m benchmarks.graph BEFORE.onnx AFTER.onnx")
    named: dict[str, Path] = {}
    for file in args.files:
        if (other := named.setdefault(file.name, file)) != file:
            raise UserError(f"{file}: a report names files without their folders, as {other} is named; rename one")
    require_new_output(args.output, map(str, args.files))
    counts = tuple(map(count_file, args.files))
    report = GraphReport(provenance=provenance(args.files), files=counts)
    terminal().print(_table(report.files))
    write_report(report, args.output)


def count_file(path: Path) -> GraphCount:
    """The counts of an exported file.

    Raises:
        UserError: the file is missing or is no ONNX file.
    """
    graph = read_onnx(path).graph
    kinds = Counter(node.op_type for node in graph.node)
    return GraphCount(
        file=path.name,
        nodes=len(graph.node),
        casts=kinds["Cast"],
        transposes=kinds["Transpose"],
        slices=kinds["Slice"] + kinds["Split"],
        gathers=kinds["Gather"] + kinds["GatherElements"] + kinds["GatherND"],
        top_k=kinds["TopK"],
        longest_top_k=longest_top_k(graph),
        custom=dict(Counter(node.op_type for node in graph.node if node.domain == DOMAIN)),
        bytes=moved_bytes(graph),
    )


def _table(counts: tuple[GraphCount, ...]) -> Table:
    moved = [count.bytes or {} for count in counts]
    table = Table("of the graph", *(count.file for count in counts), title="Nodes, and MB that they read and write")
    if not all(moved):
        table.caption = (
            "–: not known, because the file takes images of many sizes; export it with --static HxW --batch 1"
        )
    for name in ("nodes", "casts", "transposes", "slices", "gathers", "top_k", "longest_top_k"):
        values = [getattr(count, name) for count in counts]
        table.add_row(name.replace("_", " "), *("–" if value is None else f"{value:,}" for value in values))
    for operator in sorted({operator for count in counts for operator in count.custom}):
        table.add_row(operator, *(str(count.custom.get(operator, 0)) for count in counts))
    table.add_section()
    table.add_row("MB in all", *(_megabytes(sum(each.values()) if each else None) for each in moved))
    totals = sum(map(Counter, moved), Counter[str]())
    for operator, total in totals.most_common():
        if total >= LEAST_BYTES:
            table.add_row(f"MB of {operator}", *(_megabytes(each.get(operator)) for each in moved))
    return table


def _megabytes(count: int | None) -> str:
    return "–" if count is None else f"{count / 1e6:,.1f}"


if __name__ == "__main__":
    raise SystemExit(main())
