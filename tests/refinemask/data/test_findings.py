"""Findings count the entries of a kind and remember the first."""

from pathlib import Path

import pytest

from refinemask.data.findings import Finding, Findings, print_findings


def test_entries_are_counted_by_kind(capsys: pytest.CaptureFixture[str]) -> None:
    findings = Findings()
    for number in (3, 5):
        findings.mended("objects without an area", f"annotation {number}")
    findings.left_out("objects without a mask", "annotation 4")
    findings.note("odd names", "'a'", 7)
    assert list(findings) == [
        Finding("mended", "objects without an area", 2, "annotation 3"),
        Finding("left out", "objects without a mask", 1, "annotation 4"),
        Finding("note", "odd names", 7, "'a'"),
    ]
    print_findings(Path("a.json"), findings)
    assert capsys.readouterr().err.splitlines() == [
        "a.json: mended: 2 objects without an area, the first is annotation 3",
        "a.json: left out: 1 objects without a mask, the first is annotation 4",
        "a.json: note: 7 odd names, the first is 'a'",
    ]
