"""torchvision's Mask R-CNN without its image transforms and pasting, in PyTorch, ONNX Runtime and OpenVINO."""

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn
from torchvision.models.detection import maskrcnn_resnet50_fpn
from torchvision.models.detection.image_list import ImageList

from benchmarks.harness.random_detector import randomize
from benchmarks.harness.spec import EngineSpec
from engines.openvino.core import openvino_core, run_request
from engines.openvino.precision import PRECISIONS
from refinemask.config import Preprocessing
from refinemask.onnx_session import session_options

CANDIDATES = 1000
"""Number of (RoI, class) pairs above the score threshold; at the usual 0.05 random weights have none, or too many."""


class Body(nn.Module):
    """Normalised image [1, 3, H, W] to boxes, scores, labels and masks [N, 1, 28, 28]."""

    def __init__(self) -> None:
        super().__init__()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.model = maskrcnn_resnet50_fpn(weights=None, weights_backbone=None)
        randomize(self.model, seed=0)
        self.model.roi_heads.box_predictor.bbox_pred.weight.data *= 0.2
        self.model.rpn.head.bbox_pred.weight.data *= 0.2

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        sizes = [(image.shape[2], image.shape[3])]
        features = self.model.backbone(image)
        proposals, _ = self.model.rpn(ImageList(image, sizes), features)
        [detections], _ = self.model.roi_heads(features, proposals, sizes)
        return tuple(detections[name] for name in ("boxes", "scores", "labels", "masks"))

    def calibrate(self, image: Tensor) -> None:
        """Set the score threshold so that about :data:`CANDIDATES` pairs pass it, as many as trained weights have."""
        logits: list[Tensor] = []
        heads = self.model.roi_heads
        heads.score_thresh = 1.0
        hook = heads.box_predictor.register_forward_hook(lambda _, __, output: logits.append(output[0]))
        with torch.no_grad():
            self(image)
        hook.remove()
        scores = logits[0].softmax(1)[:, 1:].flatten()
        heads.score_thresh = float(scores.topk(min(CANDIDATES, len(scores))).values[-1])


def normalised(images: np.ndarray) -> Tensor:
    """uint8 [1, 3, H, W] as the network takes it."""
    preprocessing = Preprocessing()
    mean, std = (torch.tensor(values)[:, None, None] for values in (preprocessing.mean, preprocessing.std))
    return (torch.from_numpy(images).float() - mean) / std


def export(path: Path, images: np.ndarray) -> None:
    """Write the network as ONNX for the images' size, by the exporter that can: its NMS is data-dependent."""
    body, image = Body(), normalised(images)
    body.calibrate(image)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            body, (image,), path, dynamo=False, opset_version=17, input_names=["image"], output_names=["boxes"]
        )


def open_network(spec: EngineSpec, images: np.ndarray, threads: int) -> Callable[[], int]:
    """What runs the network once and returns the number of detections."""
    image = normalised(images)
    if spec.backend == "pytorch":
        return _pytorch(image, threads)
    feed = {"image": image.numpy()}
    return _onnxruntime(spec, feed, threads) if spec.backend == "onnxruntime" else _openvino(spec, feed, threads)


def _pytorch(image: Tensor, threads: int) -> Callable[[], int]:
    torch.set_num_threads(threads)
    body = Body()
    body.calibrate(image)

    @torch.inference_mode()
    def run() -> int:
        return len(body(image)[0])

    return run


def _onnxruntime(spec: EngineSpec, feed: dict[str, np.ndarray], threads: int) -> Callable[[], int]:
    session = onnxruntime.InferenceSession(spec.path, session_options(threads), providers=["CPUExecutionProvider"])
    return lambda: len(session.run(None, feed)[0])


def _openvino(spec: EngineSpec, feed: dict[str, np.ndarray], threads: int) -> Callable[[], int]:
    hint = PRECISIONS[spec.precision or "fp32"]
    options = {"INFERENCE_PRECISION_HINT": hint, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads}
    request = openvino_core().compile_model(spec.path, "CPU", options).create_infer_request()

    def run() -> int:
        run_request(request, feed)
        return len(request.get_output_tensor(0).data)

    return run
