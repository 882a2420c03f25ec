"""Eager PyTorch, the reference, as an engine like the others."""

import os
from collections.abc import Sequence

import numpy as np
import torch

from engines import on_device
from engines.base import Engine
from refinemask.files import UserError
from refinemask.structures import Detections, ImageDetections
from refinemask.weights import load_detector

Inputs = tuple[torch.Tensor, torch.Tensor]


class TorchEngine(Engine):
    """Eager PyTorch in fp32.

    ``threads`` is PyTorch's own setting and therefore holds for the whole process.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        precision: str | None = None,
        threads: int | None = None,
        device: str = "cpu",
    ) -> None:
        if precision not in (None, "fp32"):
            raise UserError(
                f"{path}: eager PyTorch runs in fp32; '{precision}' needs an exported file (export.to_onnx)"
            )
        if device != "cpu" and not torch.cuda.is_available():
            raise UserError(f"{path}: device '{device}' was asked for, but PyTorch sees no GPU; use --device cpu")
        if threads is not None:
            torch.set_num_threads(threads)
        self.detector = load_detector(path, device=device)
        super().__init__(name="PyTorch", config=self.detector.config, precision="fp32", device=device)

    def upload(self, images: np.ndarray, image_sizes: np.ndarray) -> Inputs:
        inputs = torch.from_numpy(images).to(self.device), torch.from_numpy(image_sizes).to(self.device)
        self._synchronize()
        return inputs

    @torch.inference_mode()
    def run(self, inputs: Inputs) -> Detections:
        outputs = self.detector(*inputs)
        self._synchronize()
        return outputs

    def download(self, outputs: Detections) -> Detections:
        return outputs.numpy() if self.device == "cpu" else on_device.download(outputs)

    def encode(
        self, outputs: Detections, scale_factors: np.ndarray, image_shapes: Sequence[tuple[int, int]]
    ) -> list[ImageDetections]:
        if self.device == "cpu":
            return super().encode(outputs, scale_factors, image_shapes)
        return on_device.encode(outputs, scale_factors, image_shapes)

    def _synchronize(self) -> None:
        if self.device != "cpu":
            torch.cuda.synchronize(self.device)
