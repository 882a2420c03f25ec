"""Damaged files of ranges: refused in a line, or read as the standard library reads them."""

import json
import math
from pathlib import Path

from export.calibration.ranges import Calibration, read_calibration, write_calibration
from tests.fuzz.conftest import Seeds
from tests.support.mutations import mutated_bytes, mutated_json, refusal

WHOLE = Calibration(
    source_sha256="ab" * 32, tool="by hand", images=16, ranges={f"conv{i}/Conv": 1.5 + i for i in range(5)}
)


def test_ranges(seeds: Seeds, tmp_path: Path) -> None:
    path, refused = tmp_path / "a.ranges.json", 0
    write_calibration(WHOLE, path)
    data = path.read_bytes()
    for random in seeds(600):
        in_bytes = random.random() < 0.5
        path.write_bytes(
            mutated_bytes(data, random) if in_bytes else json.dumps(mutated_json(json.loads(data), random)).encode()
        )
        if refusal(lambda: read_calibration(path)) is not None:
            refused += 1
            continue
        read, content = read_calibration(path), json.loads(path.read_bytes())
        assert {name: float(value) for name, value in content["ranges"].items()} == read.ranges
        assert all(math.isfinite(value) and value > 0 for value in read.ranges.values())
        assert read.images == int(content["images"]) >= 1
    assert refused > 100
