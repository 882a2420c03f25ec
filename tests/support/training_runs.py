"""Runs of the training command on drawn images, and what they leave."""

import json
from pathlib import Path
from typing import Any

from refinemask.train import Args

OWN: dict[str, Any] = {"annotations": Path("train.json"), "images": Path("images")}
"""Options of own data, the file relative to the data set's folder."""


def arguments(data_root: Path, output: Path, **overrides: Any) -> Args:
    """Arguments of a run of two epochs that evaluates nothing."""
    defaults: dict[str, Any] = {"epochs": 2, "workers": 0, "log_every": 1, "evaluate_every": 0}
    return Args(recipe="tiny", data_root=data_root, output=output, device="cpu", **{**defaults, **overrides})


def records(output: Path) -> list[dict[str, Any]]:
    """All records of a run."""
    return [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]


def lasting(output: Path) -> list[dict[str, Any]]:
    """The records without what a clock or the machine decides."""
    passing = {"images_per_second", "waiting_share", "memory_mb"}
    return [{key: value for key, value in record.items() if key not in passing} for record in records(output)]


def losses(output: Path) -> list[dict[str, float]]:
    """The losses of every iteration."""
    return [record["losses"] for record in records(output) if "losses" in record]
