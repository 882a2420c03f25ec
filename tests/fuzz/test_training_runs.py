"""Directories of training runs, of which the benchmarks make a table."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.training import read_run
from tests.fuzz.conftest import Seeds
from tests.support.mutations import mutated_bytes, mutated_json, refusal

DATA = {"annotations": "a.json", "images": "images"}
RECIPE = {"name": "tiny", "train": {"epochs": 1, "batch_size": 4}, "data": DATA, "validation": DATA}
RECORDS: list[dict[str, Any]] = [
    {"iteration": 2, "epoch": epoch, "loss": 3.0, "losses": {"box": 3.0}, "images_per_second": 2.5, "memory_mb": 100}
    for epoch in (0.5, 1)
]


def damaged(content: Any, random: np.random.Generator) -> bytes:
    if random.integers(2):
        return mutated_bytes(json.dumps(content).encode(), random)
    return json.dumps(mutated_json(content, random)).encode()


def test_a_damaged_run_is_read_or_refused(seeds: Seeds, tmp_path: Path) -> None:
    accepted = refused = 0
    for random in seeds(200):
        lines = [json.dumps(record).encode() for record in RECORDS]
        part = int(random.integers(3))
        if part < 2:
            lines[part] = damaged(RECORDS[part], random)
        (tmp_path / "metrics.jsonl").write_bytes(b"\n".join(lines))
        (tmp_path / "recipe.json").write_bytes(damaged(RECIPE, random) if part == 2 else json.dumps(RECIPE).encode())
        if refusal(lambda: read_run(tmp_path)) is None:
            accepted += 1
        else:
            refused += 1
    assert accepted > 5
    assert refused > 50
