"""Damaged checkpoints: refused in a line, or loaded with exactly the tensors of the file."""

import copy
import json
import struct
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import engines
from refinemask.prediction import predict
from refinemask.weights import load_detector, read_metadata, save_detector
from tests.fuzz.conftest import Seeds
from tests.support.mutations import mutated_bytes, mutated_json, refusal
from tests.support.tiny_detector import make_tiny_detector

IMAGE = np.random.default_rng(0).integers(0, 255, (40, 56, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of the tiny detector."""
    path = tmp_path_factory.mktemp("weights") / "whole.safetensors"
    save_detector(make_tiny_detector(), path, recipe="tiny")
    return path


def split(data: bytes) -> tuple[dict[str, Any], bytes]:
    """The header and the tensors of a safetensors file."""
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def joined(header: Any, tensors: bytes) -> bytes:
    """The inverse of :func:`split`, for any header."""
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + tensors


def nudged(config: Any, random: np.random.Generator) -> Any:
    """A copy of a configuration with a few settings that change no tensor's shape set to other numbers."""
    config = copy.deepcopy(config)
    for _ in range(random.integers(1, 4)):
        holder = config[("rpn", "box_head", "preprocessing")[random.integers(3)]]
        key = list(holder)[random.integers(len(holder))]
        if isinstance(holder[key], list):
            holder, key = holder[key], int(random.integers(len(holder[key])))
        value = holder[key] or 1
        holder[key] = random.choice([1, 2, 1000, value // 2, 2 * value, 3 * value, 1e-6, 1.0, 1e6, value / 3]).item()
    return config


def require_loaded_or_refused(path: Path) -> bool:
    """Load a file; if it is taken, its detector holds the file's tensors. Returns whether it was."""
    if refusal(lambda: load_detector(path)) is not None:
        return False
    loaded, tensors = load_detector(path).state_dict(), load_file(path)
    assert all(torch.equal(loaded[name], tensor.float()) for name, tensor in tensors.items())
    return True


def test_bytes(seeds: Seeds, whole: Path, tmp_path: Path) -> None:
    path, data = tmp_path / "a.safetensors", whole.read_bytes()
    start = len(data) - len(split(data)[1])
    for random in seeds(20):
        # Most of the file is weights, so that the header gets its own share.
        damaged = mutated_bytes(data[:start], random) + data[start:] if random.random() < 0.5 else None
        path.write_bytes(damaged if damaged is not None else mutated_bytes(data, random))
        require_loaded_or_refused(path)


def test_headers(seeds: Seeds, whole: Path, tmp_path: Path) -> None:
    header, tensors = split(whole.read_bytes())
    for random in seeds(60):
        (tmp_path / "a.safetensors").write_bytes(joined(mutated_json(header, random), tensors))
        require_loaded_or_refused(tmp_path / "a.safetensors")


def test_configurations(seeds: Seeds, whole: Path, tmp_path: Path) -> None:
    """What is taken predicts, if in nonsense: no setting that a file may have makes the network fail."""
    path, (header, tensors), taken = tmp_path / "a.safetensors", split(whole.read_bytes()), 0
    config = json.loads(header["__metadata__"]["config"])
    for random in seeds(12):
        changed = mutated_json(config, random) if random.random() < 0.3 else nudged(config, random)
        header["__metadata__"]["config"] = json.dumps(changed)
        path.write_bytes(joined(header, tensors))
        if require_loaded_or_refused(path):
            engine = engines.load(path)
            if engine.config.preprocessing.long_side < 1000:
                refusal(partial(predict, engine, [IMAGE]))
            taken += 1
    assert taken > 3


def test_weights(seeds: Seeds, whole: Path, tmp_path: Path) -> None:
    path, state, metadata = tmp_path / "a.safetensors", load_file(whole), read_metadata(whole)
    names = sorted(state)
    for random in seeds(12):
        name = names[random.integers(len(names))]
        values = state[name].clone()
        value = float(random.choice([np.nan, np.inf, -np.inf, 1e38, 0.0, 1e-45]))
        values.view(-1)[random.integers(values.numel())] = value
        save_file(state | {name: values}, path, metadata)
        assert require_loaded_or_refused(path) == np.isfinite(value)
