"""OpenVINO on the CPU, in fp32 or bf16 (optional extra ``openvino``)."""

import os
from typing import Any

import numpy as np
import onnx
import onnx.inliner

from engines.base import OUTPUTS, Engine, read_metadata
from refinemask.files import UserError
from refinemask.structures import Detections

PRECISIONS = {"fp32": "f32", "bf16": "bf16"}


class OpenVINOEngine(Engine):
    """An exported fp32 file in OpenVINO, computed in fp32 or bf16.

    The precision is always asked for and verified afterwards: left alone, OpenVINO computes in bf16 wherever the CPU
    has AMX, and falls back to fp32 without a word where it has no bf16.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        precision: str | None = None,
        threads: int | None = None,
        device: str = "cpu",
    ) -> None:
        model = _read(path)
        metadata = read_metadata({entry.key: entry.value for entry in model.metadata_props}, path)
        if metadata.precision != "fp32":
            raise UserError(f"{path}: OpenVINO runs fp32 exports, in fp32 or bf16; this one is {metadata.precision}")
        precision = precision or "fp32"
        if precision not in PRECISIONS or device != "cpu":
            raise UserError(f"{path}: OpenVINO runs on the cpu in fp32 or bf16, not on {device} in {precision}")
        self.model = _compile(model, path, PRECISIONS[precision], threads)
        super().__init__(
            name="OpenVINO", config=metadata.config, precision=precision, device=device, bounds=metadata.bounds
        )
        self._verify_precision(path)

    def upload(self, images: np.ndarray, image_sizes: np.ndarray) -> dict[str, np.ndarray]:
        return {"images": images, "image_sizes": image_sizes}

    def run(self, inputs: dict[str, np.ndarray]) -> Any:
        request = self.model.create_infer_request()
        request.infer(inputs, share_inputs=True)
        return request

    def download(self, outputs: Any) -> Detections:
        return Detections(*(outputs.get_tensor(name).data.copy() for name in OUTPUTS))

    def _verify_precision(self, path: str | os.PathLike[str]) -> None:
        wanted, found = PRECISIONS[self.precision], executed_precisions(self.model)
        if set(found) != {wanted}:
            raise UserError(
                f"{path}: {self.precision} was asked for, but OpenVINO computes convolutions in {found}; "
                "bf16 needs a CPU with AMX or AVX512_BF16, use --precision fp32"
            )


def executed_precisions(model: Any) -> dict[str, int]:
    """Count the convolutions of a compiled model by the precision they execute in."""
    counts: dict[str, int] = {}
    for node in model.get_runtime_model().get_ops():
        info = node.get_rt_info()
        if "Convolution" in info["layerType"].astype(str):
            precision = info["runtimePrecision"].astype(str)
            counts[precision] = counts.get(precision, 0) + 1
    return counts


def _read(path: str | os.PathLike[str]) -> onnx.ModelProto:
    try:
        return onnx.inliner.inline_local_functions(onnx.load(path))
    except Exception as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path}: not a readable ONNX file ({reason}); export it again (export.to_onnx)") from error


def _compile(model: onnx.ModelProto, path: str | os.PathLike[str], precision: str, threads: int | None) -> Any:
    try:
        import openvino
    except ImportError as error:
        raise UserError(f"{path}: OpenVINO is not installed; pip install 'refinemask[openvino]'") from error
    core = openvino.Core()
    options: dict[str, Any] = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
    if threads is not None:
        options["INFERENCE_NUM_THREADS"] = threads
    try:
        return core.compile_model(core.read_model(model.SerializeToString()), "CPU", options)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise UserError(f"{path}: OpenVINO cannot compile it: {reason}; export it again (export.to_onnx)") from error
