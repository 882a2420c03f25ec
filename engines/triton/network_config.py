"""The ``config.pbtxt`` of the bare network: padded images in, boxes and masks over the boxes out.

Triton's own backends for ONNX Runtime and TensorRT run it, or :mod:`engines.triton.network` in the Python backend.
"""

from typing import Any

import numpy as np

from engines.triton.deployment import Deployment, batching, common
from engines.triton.pbtxt import Word
from engines.triton.settings import Settings
from refinemask.config import ModelConfig
from refinemask.contract import INPUTS, OUTPUTS, Bounds, Limits

MASK_SIDES = {"fcn": 28, "refine": 112, "pointrend": 224, "htc": 28}
"""Height and width of the masks of each kind of mask head."""
TYPES = {"boxes": "TYPE_FP32", "scores": "TYPE_FP32", "labels": "TYPE_INT64", "num_detections": "TYPE_INT64",
         "masks": "TYPE_FP32"}  # fmt: skip
WARM_UP_SIZES = "image_sizes"
"""Name of the file in the folder ``warmup`` with the valid size of the image of the warm-up."""


def native_config(
    name: str, settings: Settings, deployment: Deployment, config: ModelConfig, bounds: Bounds
) -> dict[str, Any]:
    """The configuration of a file that Triton's ONNX Runtime or TensorRT runs.

    A file for one number of images, or with a least number above one, has no batches of the server's making: a request
    is a batch then.
    """
    native = {"onnxruntime": {"backend": "onnxruntime"}, "tensorrt": {"backend": "tensorrt"}}[settings.backend]
    first: dict[str, Any] = {"name": name, **native, "default_model_filename": settings.model}
    last = common(deployment, settings.device, settings.to_parameters() | _threads(settings))
    if not bounds.batch[0] == 1 < bounds.batch[2]:
        batch = bounds.batch[0] if bounds.batch[0] == bounds.batch[2] else -1
        return first | {"max_batch_size": 0, **_tensors(config, bounds, [batch])} | last
    most = min(deployment.max_batch, bounds.batch[2])
    tensors = _tensors(config, bounds, [])
    # The file's output has the batch alone, and the server wants a dimension behind it.
    count = next(output for output in tensors["output"] if output["name"] == "num_detections")
    count |= {"dims": [1], "reshape": {"shape": []}}
    typical = min(bounds.typical_batch, most)
    return first | {"max_batch_size": most, **tensors, **batching(deployment, typical), **_warm_up(bounds)} | last


def python_config(
    name: str, settings: Settings, deployment: Deployment, config: ModelConfig, bounds: Bounds | None
) -> dict[str, Any]:
    """The configuration of an engine that the Python backend runs; ``bounds`` is None where any batch and size runs."""
    most = deployment.max_batch if bounds is None else min(deployment.max_batch, bounds.batch[2])
    tensors = _tensors(config, bounds, [])
    count = next(output for output in tensors["output"] if output["name"] == "num_detections")
    count |= {"dims": [1]}
    return {
        "name": name,
        "backend": "python",
        "max_batch_size": most,
        **tensors,
        **batching(deployment, None if bounds is None else min(bounds.typical_batch, most)),
        **({} if bounds is None else _warm_up(bounds)),
        **common(deployment, settings.device, settings.to_parameters()),
    }


def warm_up_sizes(bounds: Bounds) -> bytes:
    """The content of the file :data:`WARM_UP_SIZES`."""
    return np.array([bounds.height[1], bounds.width[1]], "<i8").tobytes()


def _tensors(config: ModelConfig, bounds: Bounds | None, batch: list[int]) -> dict[str, Any]:
    height, width = (-1, -1) if bounds is None else (_side(bounds.height), _side(bounds.width))
    places, side = config.box_head.detections, MASK_SIDES[config.mask_head.kind]
    shapes = {
        "boxes": [places, 4],
        "scores": [places],
        "labels": [places],
        "num_detections": [],
        "masks": [places, side, side],
    }
    images, sizes = INPUTS
    return {
        "input": [
            {"name": images, "data_type": Word("TYPE_UINT8"), "dims": [*batch, 3, height, width]},
            {"name": sizes, "data_type": Word("TYPE_INT64"), "dims": [*batch, 2]},
        ],
        "output": [{"name": name, "data_type": Word(TYPES[name]), "dims": [*batch, *shapes[name]]} for name in OUTPUTS],
    }


def _side(limits: Limits) -> int:
    return limits[0] if limits[0] == limits[2] else -1


def _warm_up(bounds: Bounds) -> dict[str, Any]:
    images, sizes = INPUTS
    shape = [3, bounds.height[1], bounds.width[1]]
    inputs = [
        {"key": images, "value": {"data_type": Word("TYPE_UINT8"), "dims": shape, "zero_data": True}},
        # A size of zero is none.
        {"key": sizes, "value": {"data_type": Word("TYPE_INT64"), "dims": [2], "input_data_file": WARM_UP_SIZES}},
    ]
    return {"model_warmup": [{"name": "a black image", "batch_size": 1, "inputs": inputs}]}


def _threads(settings: Settings) -> dict[str, str]:
    is_told = settings.backend == "onnxruntime" and settings.threads is not None
    return {"intra_op_thread_count": str(settings.threads)} if is_told else {}
