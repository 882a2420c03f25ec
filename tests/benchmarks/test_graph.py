"""The count of exported graphs."""

from collections import Counter
from pathlib import Path

import onnx_ir as ir
import pytest

from benchmarks.graph import Args, GraphReport, count_file, main
from benchmarks.harness.report_file import read_report
from refinemask.contract import DOMAIN


def test_a_report_of_two_files(
    tiny_files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, output = tiny_files[1], tmp_path / "graph.json"
    assert main(Args(files=(file, file), output=output)) == 0
    table = capsys.readouterr().out
    assert "MultilevelRoIAlign4" in table
    report = read_report(GraphReport, output)
    assert report.files == (count_file(file),) * 2
    (count, _) = report.files
    assert count.custom["SelectProposals"] == 1
    assert count.custom == dict(Counter(node.op_type for node in ir.load(file).graph if node.domain == DOMAIN))
    assert count.nodes > count.gathers > 0
    # The file takes images of many sizes.
    assert count.bytes is None
    assert f"{count.nodes:,}" in table
    assert "–" in table


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (("text.onnx",), "text.onnx: not a readable ONNX file"),
        (("none.onnx",), "none.onnx: no such file"),
        (("text.onnx", "other/text.onnx"), "a report names files without their folders"),
        ((), "no file given"),
    ],
)
def test_what_is_given_wrong_is_one_line(
    files: tuple[str, ...], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text.onnx").write_text("text")
    assert main(Args(files=tuple(tmp_path / file for file in files))) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
