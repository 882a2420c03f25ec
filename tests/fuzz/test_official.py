"""Official checkpoints: damaged files, odd tensors and metadata, and damaged configurations."""

import io
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from refinemask.config import FCNMaskConfig, ModelConfig
from refinemask.official.detector import detector_from_official
from refinemask.official.settings import take_over
from refinemask.official.stored_config import parse_settings
from tests.fuzz.conftest import Seeds
from tests.support.mutations import ODD_VALUES, mutated_bytes, mutated_json, refusal
from tests.support.official_files import mmdetection_2, mmdetection_3, save, small_mask_rcnn

ASSUMED = ModelConfig(class_names=("a", "b"), category_ids=(1, 2), mask_head=FCNMaskConfig())


def test_damaged_files_are_converted_to_finite_weights_or_refused(seeds: Seeds, tmp_path: Path) -> None:
    path, refused = tmp_path / "x.pth", 0
    wholes = []
    for new in (True, False):
        buffer = io.BytesIO()
        content = {"state_dict": small_mask_rcnn(), "meta": {"config": mmdetection_2(), "CLASSES": ("a", "b")}}
        torch.save(content, buffer, _use_new_zipfile_serialization=new)
        wholes.append(buffer.getvalue())
    for random in seeds(25):
        path.write_bytes(mutated_bytes(wholes[random.integers(2)], random))
        if refusal(lambda: convert(path)) is not None:
            refused += 1
    assert refused > 5


def convert(path: Path) -> None:
    detector = detector_from_official(path).detector
    assert all(torch.isfinite(tensor).all() for tensor in detector.state_dict().values())


def odd_tensor(tensor: Tensor, random: np.random.Generator) -> Any:
    kinds: list[Any] = [
        lambda: tensor.reshape(-1)[:1].expand(10**6 + int(random.integers(10**6))),
        lambda: tensor.reshape(-1)[0],
        lambda: tensor.reshape(-1)[:0],
        lambda: tensor.unsqueeze(0),
        lambda: torch.cat([tensor.reshape(-1)] * 2),
        lambda: torch.full(tensor.shape, float(random.choice([np.nan, np.inf]))),
        lambda: tensor.double() * 1e300,
        lambda: tensor.half(),
        lambda: tensor.bool(),
        lambda: tensor.to(torch.float8_e4m3fn),
        lambda: tensor.to_sparse(),
        lambda: tensor.flip(0).t() if tensor.dim() == 2 else tensor.transpose(0, -1) if tensor.dim() else tensor,
        lambda: torch.nn.Parameter(tensor) if tensor.is_floating_point() else tensor,
        lambda: ODD_VALUES[random.integers(len(ODD_VALUES))],
    ]
    return kinds[random.integers(len(kinds))]()


def test_odd_tensors_keys_and_metadata_are_converted_or_refused(seeds: Seeds, tmp_path: Path) -> None:
    path, refused, whole = tmp_path / "x.pth", 0, small_mask_rcnn()
    for random in seeds(40):
        state: dict[Any, Any] = dict(whole)
        for _ in range(random.integers(3)):
            key = list(state)[random.integers(len(state))]
            kind = random.integers(4)
            if kind == 0:
                del state[key]
            elif kind == 1:
                odd: tuple[Any, ...] = (
                    0,
                    None,
                    "",
                    f"{key}.0.0",
                    f"module.{key}",
                    f"ema_{key}",
                    b"x",
                    "roi_head.mask_head.0",
                )
                state[odd[random.integers(len(odd))]] = state[key]
            elif isinstance(state[key], Tensor):
                state[key] = odd_tensor(state[key], random)
        meta = mutated_json(
            {
                "CLASSES": ["a", "b"],
                "dataset_meta": {"classes": ["a", "b"]},
                "config": {"model": {"neck": {"num_outs": 5}}},
            },
            random,
        )
        save(path, state, meta=meta, ema_state_dict=mutated_json({"a": 1}, random))
        if refusal(lambda: convert(path)) is not None:
            refused += 1
    assert refused > 10


def test_damaged_configurations_are_taken_or_refused(seeds: Seeds) -> None:
    refused = 0
    for random in seeds(300):
        whole = (mmdetection_2(), mmdetection_3())[random.integers(2)]
        text = mutated_bytes(whole.encode(), random).decode(errors="replace")
        if refusal(partial(take_text, text)) is not None:
            refused += 1
    assert refused > 100


def test_configurations_with_odd_values_are_taken_or_refused(seeds: Seeds) -> None:
    refused, wholes = 0, [parse_settings(mmdetection_2()), parse_settings(mmdetection_3())]
    for random in seeds(300):
        settings = mutated_json(wholes[random.integers(2)], random)
        if refusal(partial(take, settings)) is not None:
            refused += 1
    assert refused > 50


def take_text(text: str) -> None:
    take(parse_settings(text))


def take(settings: Any) -> None:
    config, remark = take_over(ASSUMED, settings if isinstance(settings, dict) else {})
    assert "\n" not in remark
    assert 1 <= config.preprocessing.short_side <= config.preprocessing.long_side <= 100_000
    assert all(0 < value < 1e7 for value in (*config.preprocessing.std, config.rpn.anchor_scale))
    assert 1 <= config.box_head.detections <= 3840
    assert config.rpn.proposals <= 5 * config.rpn.candidates_per_level
    assert 0 <= config.box_head.score_threshold <= 1
