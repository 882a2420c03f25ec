"""ONNX Runtime, on the CPU or a CUDA GPU."""

import os
import warnings

import numpy as np
import onnxruntime as ort

from engines.base import Engine
from engines.file_precision import require_file_precision
from engines.quantised.remark import say_what_overflows
from refinemask.contract import INPUTS, OUTPUTS, Metadata, read_onnx, require_tensors
from refinemask.external_data import require_data_inside
from refinemask.extras import needed_by
from refinemask.files import UserError
from refinemask.foreign import foreign_errors
from refinemask.onnx_session import cuda_remedy, session_options
from refinemask.stated_property import stated_property
from refinemask.structures import Detections

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
TF32_OPTION = "use_tf32"
"""Option of the CUDA provider, on unless it is told otherwise."""


class OnnxRuntimeEngine(Engine):
    """An exported file in ONNX Runtime; the custom operators run as the functions the file carries.

    A file runs in its own precision; on a GPU an fp32 file also in tf32. On a CPU the layers of an int8 file run in
    integer kernels, where those are right.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        precision: str | None = None,
        threads: int | None = None,
        device: str = "cpu",
    ) -> None:
        if precision == "tf32" and device == "cpu":
            raise UserError(f"{path}: tf32 does not run on a CPU: TensorFloat-32 is a type of GPUs; use --device cuda")
        # Asked of the file, not of a session: what that one takes stays with the process, and int8 needs another.
        integer = device == "cpu" and stated_property(path, "precision") == "int8"
        self.session = (
            _open_integer(path, threads) if integer else _open(path, threads, device, tf32=precision == "tf32")
        )
        # Texts in the file need not be UTF-8.
        with foreign_errors(
            f"{path}: ONNX Runtime cannot read what it says of itself", "export it again (export.to_onnx)"
        ):
            properties = self.session.get_modelmeta().custom_metadata_map
            values = self.session.get_inputs(), self.session.get_outputs()
            names = [[value.name for value in group] for group in values]
        metadata = Metadata.from_properties(properties, path)
        require_tensors(path, *names)
        require_file_precision(path, metadata.precision, precision, "ONNX Runtime runs a file as it is")
        super().__init__(
            name="ONNX Runtime",
            config=metadata.config,
            precision=precision or metadata.precision,
            device=device,
            bounds=metadata.bounds,
            path=path,
        )

    def upload(self, images: np.ndarray, image_sizes: np.ndarray) -> ort.IOBinding:
        with self.running():
            binding = self.session.io_binding()
            for name, array in zip(INPUTS, (images, image_sizes), strict=True):
                binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(array, self.device, 0))
            for name in OUTPUTS:
                binding.bind_output(name, self.device)
            binding.synchronize_inputs()
            return binding

    def run(self, inputs: ort.IOBinding) -> ort.IOBinding:
        with self._turn, self.running():
            self.session.run_with_iobinding(inputs)
            inputs.synchronize_outputs()
            return inputs

    def download(self, outputs: ort.IOBinding) -> Detections:
        with self.running():
            return Detections(*outputs.copy_outputs_to_cpu())


def _open(path: str | os.PathLike[str], threads: int | None, device: str, *, tf32: bool) -> ort.InferenceSession:
    if device not in PROVIDERS:
        raise UserError(f"{path}: no ONNX Runtime provider for device '{device}'; expected {' or '.join(PROVIDERS)}")
    options = {TF32_OPTION: str(int(tf32))} if device == "cuda" else {}
    require_data_inside(path)
    remedy = "export it again (export.to_onnx), in fp32 or fp16 and without --no-bodies"
    with (
        foreign_errors(f"{path}: ONNX Runtime cannot load it", remedy),
        warnings.catch_warnings(),
    ):
        # ONNX Runtime only warns of a missing provider; the check below makes it an error.
        warnings.simplefilter("ignore")
        session = ort.InferenceSession(path, session_options(threads, device), providers=[(PROVIDERS[device], options)])
    if PROVIDERS[device] not in session.get_providers():
        raise UserError(
            f"{path}: {PROVIDERS[device]} was asked for, but ONNX Runtime offers {', '.join(session.get_providers())}; "
            f"{cuda_remedy()}, or use --device cpu"
        )
    return session


def _open_integer(path: str | os.PathLike[str], threads: int | None) -> ort.InferenceSession:
    """A session on the CPU whose int8 layers are integer operators."""
    # Not as written instead: that is slower than fp32, which nobody wants of int8.
    with needed_by(f"{path}: int8 on a CPU", otherwise="pip install onnx"):
        from engines.quantised.for_onnxruntime import write_for_onnxruntime
        from engines.quantised.sound import require_sound
    model = read_onnx(path, weights=True)
    with foreign_errors(f"{path}: ONNX Runtime cannot load its integer form", "export and quantise it again"):
        require_sound(model.graph, path)
        layers = write_for_onnxruntime(model)
        content = model.SerializeToString()
        # Gone first: it is as large as the weights.
        del model
        session = ort.InferenceSession(content, session_options(threads), providers=[PROVIDERS["cpu"]])
    say_what_overflows(layers.kept, layers.total, path)
    return session
