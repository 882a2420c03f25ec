"""Two tiny checkpoints whose exported files are toys, so that nothing has to be exported."""

import json
from dataclasses import replace
from pathlib import Path

import onnx
import pytest

from benchmarks.efficiency.models import MODELS
from benchmarks.harness.random_detector import randomize
from refinemask import __version__
from refinemask.config import ModelConfig
from refinemask.config_json import to_json
from refinemask.data.categories import COCO
from refinemask.files import sha256
from refinemask.modeling.detector import Detector
from refinemask.weights import save_detector
from tests.support.tiny_detector import TINY
from tests.support.toy_onnx import write_toy_onnx

SIZE = (64, 96)
COCO_CONFIG = ModelConfig(class_names=COCO.class_names, category_ids=COCO.category_ids)
"""AP* is for detectors of COCO's classes."""
KEYS = ("mask-rcnn", "refinemask")


@pytest.fixture
def checkpoints(tmp_path: Path) -> list[Path]:
    """A Mask R-CNN and a RefineMask, the latter first."""
    paths = []
    for model in reversed([model for model in MODELS if model.key in KEYS]):
        paths.append(tmp_path / f"trained-{model.key}.safetensors")
        save_detector(randomize(Detector(replace(TINY, mask_head=model.mask_head)), 0), paths[-1], recipe="tiny")
    return paths


@pytest.fixture
def work(tmp_path: Path, checkpoints: list[Path]) -> Path:
    """A directory with toys in place of the files exported of the checkpoints, for all sizes and for one."""
    directory = tmp_path / "work"
    directory.mkdir()
    for checkpoint, key in zip(checkpoints, reversed(KEYS), strict=True):
        bounds = json.dumps({"batch": [1, 1, 1], "height": [32, 64, 1344], "width": [32, 96, 1344]})
        origin = {"source_sha256": sha256(checkpoint), "exporter": __version__, "config": to_json(COCO_CONFIG)}
        write_toy_onnx(directory / f"{key}.onnx", bounds=bounds, **origin)
        bounds = json.dumps({"batch": [1] * 3, "height": [SIZE[0]] * 3, "width": [SIZE[1]] * 3})
        path = write_toy_onnx(directory / f"{key}-64x96.onnx", bounds=bounds, **origin)
        model = onnx.load(path)
        for value in (*model.graph.input, *model.graph.output):
            for dimension in value.type.tensor_type.shape.dim:
                if dimension.dim_param:
                    dimension.dim_value = {"B": 1, "H": SIZE[0], "W": SIZE[1]}[dimension.dim_param]
        onnx.save(onnx.shape_inference.infer_shapes(model), path)
    return directory
