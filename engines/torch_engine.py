"""Eager PyTorch, the reference, as an engine like the others."""

import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from typing import Literal

import numpy as np
import torch

from engines import on_device
from engines.base import Engine
from refinemask.files import UserError
from refinemask.float32 import float32_products
from refinemask.modeling.detector import Detector
from refinemask.modeling.exported import fold_batch_norm
from refinemask.selection import WHOLE, Selection
from refinemask.structures import Detections, ImageDetections
from refinemask.weights import load_detector, read_config
from trt_plugins import BUILD_COMMAND, torch_ops

Inputs = tuple[torch.Tensor, torch.Tensor]
Operators = Literal["kernels", "torchvision"]

PRECISIONS = ("fp32", "tf32", "fp16", "bf16")
HALF = {"fp16": torch.float16, "bf16": torch.bfloat16}
"""Type of weights and features in the precisions that are not float32."""
NOT_ON_CPU = {
    "tf32": "TensorFloat-32 is a type of GPUs",
    "fp16": "PyTorch computes it more slowly than fp32 there",
}
"""Reasons why a precision does not run on a CPU."""


class TorchEngine(Engine):
    """Eager PyTorch in fp32, tf32, fp16 or bf16; on a CPU in fp32 or bf16.

    In fp16 and bf16 batch norm is folded into the convolutions, and box arithmetic and the boundary test stay float32.
    ``threads``, and on a GPU the choice between fp32 and tf32 while a batch runs, are PyTorch's own settings and
    therefore hold for the whole process.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        precision: str | None = None,
        threads: int | None = None,
        device: str = "cpu",
        kernels: bool = True,
        selection: Selection = WHOLE,
    ) -> None:
        """Load a checkpoint.

        Args:
            path: the checkpoint.
            precision: arithmetic of the convolutions; None is fp32.
            threads: CPU threads; None leaves the number to PyTorch.
            device: ``cpu``, ``cuda`` or one of several GPUs, such as ``cuda:1``.
            kernels: on a GPU, run this project's kernels where their library is built; otherwise, and where it is
                not, torchvision's operators run. A CPU has the latter only.
            selection: number of detections and score threshold in place of the checkpoint's.

        Raises:
            UserError: the file is not a checkpoint of ours, or does not run in that precision on that device.
        """
        precision = precision or "fp32"
        _require_possible(path, precision, device)
        if threads is not None:
            torch.set_num_threads(threads)
        self.detector = load_detector(path, device, **asdict(selection))
        if precision in HALF:
            _make_half(self.detector, HALF[precision])
        enabled = device != "cpu" and kernels and _enable_kernels(path)
        self.operators: Operators = "kernels" if enabled else "torchvision"
        """The implementation of RoIAlign, NMS and boundary merge: this project's ``kernels``, or ``torchvision``."""
        super().__init__(name="PyTorch", config=self.detector.config, precision=precision, device=device, path=path)
        self.selection = selection.beyond(read_config(path))

    def upload(self, images: np.ndarray, image_sizes: np.ndarray) -> Inputs:
        inputs = torch.from_numpy(images).to(self.device), torch.from_numpy(image_sizes).to(self.device)
        self._synchronize()
        return inputs

    @torch.inference_mode()
    def run(self, inputs: Inputs) -> Detections:
        # A new thread takes the number of set_num_threads when it is first asked for it, but not for a convolution.
        torch.get_num_threads()
        with self._turn:
            with self.arithmetic():
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
        with self.named_outputs():
            return on_device.encode(outputs, scale_factors, image_shapes)

    @contextmanager
    def arithmetic(self) -> Iterator[None]:
        """PyTorch's settings under which ``self.detector`` computes as this engine does, while this is open."""
        if self.device == "cpu":
            yield
            return
        operators = torch_ops.disabled() if self.operators == "torchvision" else nullcontext()
        with float32_products(tf32=self.precision == "tf32"), operators:
            yield

    def _synchronize(self) -> None:
        if self.device != "cpu":
            torch.cuda.synchronize(self.device)


def _require_possible(path: str | os.PathLike[str], precision: str, device: str) -> None:
    if precision not in PRECISIONS:
        raise UserError(
            f"{path}: eager PyTorch runs in {', '.join(PRECISIONS)}; '{precision}' needs an exported file "
            "(export.to_onnx, export.quantize)"
        )
    if device == "cpu" and precision in NOT_ON_CPU:
        raise UserError(
            f"{path}: {precision} does not run on a CPU: {NOT_ON_CPU[precision]}; use fp32 or bf16, or --device cuda"
        )
    if device != "cpu" and not torch.cuda.is_available():
        raise UserError(f"{path}: device '{device}' was asked for, but PyTorch sees no GPU; use --device cpu")
    index = torch.device(device).index
    if index is not None and index >= (gpus := torch.cuda.device_count()):
        raise UserError(f"{path}: device '{device}' was asked for, but PyTorch sees {gpus} GPUs, counted from 0")


def _make_half(detector: Detector, dtype: torch.dtype) -> None:
    """Give weights and features the type ``dtype``, with channels last: matrix units of GPUs want them so, and CPUs
    compute bf16 faster."""
    fold_batch_norm(detector.requires_grad_(False))
    detector.to(dtype).to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _enable_kernels(path: str | os.PathLike[str]) -> bool:
    """Register the kernels if their library is built; otherwise warn. Returns whether they are registered."""
    if torch_ops.enable_if_available():
        return True
    warnings.warn(
        f"{path}: runs with torchvision's operators, because the CUDA kernels are not built; build them with: "
        f"{BUILD_COMMAND}",
        stacklevel=4,
    )
    return False
