"""Deterministic pseudo-weights for the numeric oracle.

Every tensor depends only on its own state-dict key and shape, never on the
order in which tensors are made, so no weight file has to be kept: the golden
outputs (golden/README.md) came of the same weights in the official model.

    import json
    from tests.support.oracle_weights import make_weights
    keys = json.load(open("official_keys/r50-coco.json"))
    state = {k: torch.from_numpy(v) for k, v in make_weights(keys).items()}
"""

import math
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

# (substring of the key, gain); first match wins, otherwise DEFAULT_GAIN.
# A conv / linear weight has standard deviation gain / sqrt(fan_in).
DEFAULT_GAIN = math.sqrt(2.0)
GAINS = [
    ("neck.lateral_convs.", 1.0),
    ("neck.fpn_convs.0.", 0.4),
    ("neck.fpn_convs.1.", 0.7),
    ("neck.fpn_convs.2.", 1.2),
    ("neck.fpn_convs.3.", 2.0),
    ("rpn_head.rpn_cls.", 0.8),
    ("rpn_head.rpn_reg.", 0.3),
    ("bbox_head.fc_cls.", 5.0),
    ("bbox_head.fc_reg.", 1.2),
    ("bbox_head.0.fc_cls.", 5.0),
    ("bbox_head.1.fc_cls.", 5.0),
    ("bbox_head.2.fc_cls.", 5.0),
    (".instance_logits.", 4.0),
    ("final_instance_logits.", 4.0),
    ("stage_instance_logits.", 4.0),
    ("semantic_logits.", 6.0),
    ("mask_head.conv_logits.", 4.0),
]
RESIDUAL_BN_SCALE = 0.25
# added to the background entry (the last one) of fc_cls.bias, by class count
BACKGROUND_BIAS = {8: 13.5, 80: 17.0, 1203: 20.0}


def _gain(key: str) -> float:
    for part, gain in GAINS:
        if part in key:
            return gain
    return DEFAULT_GAIN


def make_tensor(key: str, shape: Sequence[int]) -> np.ndarray:
    """One state-dict entry as a numpy array (float32, or int64 counters)."""
    shape = tuple(int(s) for s in shape)
    rng = np.random.Generator(np.random.PCG64(zlib.crc32(key.encode("utf-8"))))
    if key.endswith("num_batches_tracked"):
        return np.zeros(shape, dtype=np.int64)
    if key.endswith("running_mean"):
        return (0.1 * rng.standard_normal(shape)).astype(np.float32)
    if key.endswith("running_var"):
        return (0.5 + rng.random(shape)).astype(np.float32)
    if key.endswith("bias"):
        b = 0.02 * rng.standard_normal(shape)
        if key.endswith("fc_cls.bias"):  # favour background (last class)
            b[-1] += BACKGROUND_BIAS.get(shape[0] - 1, 10.0)
        return b.astype(np.float32)
    if len(shape) == 1:  # batch-norm scale
        scale = 0.5 + rng.random(shape)
        if key.endswith("bn3.weight"):  # last norm of a bottleneck
            scale = scale * RESIDUAL_BN_SCALE
        return scale.astype(np.float32)
    w = rng.standard_normal(shape)
    if key.endswith("upsample.weight"):  # transposed conv: (in, out, 2, 2)
        axes: tuple[int, ...] = (0,)
        fan_in = shape[0]
    else:  # conv / linear: (out, in, ...)
        axes, fan_in = tuple(range(1, len(shape))), int(np.prod(shape[1:]))
    if fan_in > 1:  # remove the response to a constant
        w = w - w.mean(axis=axes, keepdims=True)
    return (w * (_gain(key) / math.sqrt(fan_in))).astype(np.float32)


def make_weights(keys: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """keys: mapping  key -> shape  or  key -> {"shape": [...], ...}."""
    out = {}
    for key in sorted(keys):
        spec = keys[key]
        shape = spec["shape"] if isinstance(spec, dict) else spec
        out[key] = make_tensor(key, shape)
    return out


def make_image(
    seed: int, height: int, width: int, valid_h: int | None = None, valid_w: int | None = None
) -> np.ndarray:
    """Normalised network input (1, 3, height, width), float32.

    Sum of constant blocks of edge 64, 32, ..., 1 pixels with normal values;
    rows >= valid_h and columns >= valid_w are zero (the padding).
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    img = np.zeros((3, height, width), dtype=np.float64)
    for size, amp in ((64, 0.8), (32, 0.6), (16, 0.5), (8, 0.4), (4, 0.3), (2, 0.2), (1, 0.1)):
        gh, gw = -(-height // size), -(-width // size)
        grid = rng.standard_normal((3, gh, gw))
        big = np.repeat(np.repeat(grid, size, axis=1), size, axis=2)
        img += amp * big[:, :height, :width]
    if valid_h is not None:
        img[:, valid_h:, :] = 0
    if valid_w is not None:
        img[:, :, valid_w:] = 0
    return img[None].astype(np.float32)
