"""The metrics file of a resumed run."""

import json
from pathlib import Path

import pytest

from refinemask.training.checkpoint import Progress
from refinemask.training.report import Report


@pytest.mark.parametrize(
    "damage",
    [
        b"[]", b"{}", b"5", b"null", b'"iteration"', b'{"iteration": "many"}', b'{"iteration": null}',
        b'{"iteration": -1}', b'{"iteration": 1e999}', b'{"iteration": [1]}', b'{"iteration": 1, "loss"', b"\xff\xfe{",
        b"\x00" * 40, b"", b"[" * 100_000, b'{"iteration": 1, "skipped": "\xff"}',
    ],
    ids=repr,
)  # fmt: skip
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_damaged_line_is_dropped_and_the_others_stay(damage: bytes, place: int, tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    whole = [json.dumps({"iteration": number, "loss": 1.5, "skipped": "ü"}).encode() for number in (1, 2)]
    later = [json.dumps({"iteration": 3}).encode()]
    lines = [*whole[:place], damage, *whole[place:], *later]
    path.write_bytes(b"\n".join(lines))
    report = Report(tmp_path, start=Progress(iteration=2), total=9, per_epoch=3, images=1, every=1, tensorboard=False)
    report.write(3, {"epoch": 1})
    report.close()
    assert path.read_bytes().splitlines() == [*whole, b'{"iteration": 3, "epoch": 1}']
