"""Engine files of the networks, made by child processes while nothing is timed."""

import time
from importlib.util import find_spec
from pathlib import Path

import engines
from benchmarks.gpu_suite.context import Context, NotRunError
from engines.base import Engine
from refinemask.modeling.exported import Precision
from trt_plugins import kernels_path

Canvas = tuple[int, int]
KERNELS_SECONDS = 180
"""Longest time that a compilation waits for the kernels to be built."""


def begin_compiled(context: Context, checkpoint: Path, precision: str, canvas: Canvas, batch: int) -> None:
    """Begin to compile a checkpoint ahead of time, unless that was begun already."""
    output = _compiled_file(context, checkpoint, precision, batch)
    if compiles(context) and not context.has_begun(output.name):
        context.begin(output.name, compile_file, checkpoint, output, context.device, precision, canvas, batch)


def load_compiled(context: Context, checkpoint: Path, precision: str, batch: int, slots: int = 1) -> Engine:
    """Wait for what :func:`begin_compiled` began, and open it.

    Raises:
        NotRunError: it was not begun, or did not end in time.
        UserError: it cannot be compiled or opened.
    """
    if not compiles(context):
        raise NotRunError("compiling takes a minute: where sizes are tiny, only with --part")
    output = _compiled_file(context, checkpoint, precision, batch)
    context.answer(output.name)
    return engines.load(output, device=context.device, slots=slots)


def compiles(context: Context) -> bool:
    """Whether anything is compiled: a minute for each file is too long for a walk over all parts."""
    return not context.tiny or bool(context.plan.parts)


def compile_file(checkpoint: Path, output: Path, device: str, precision: str, canvas: Canvas, batch: int) -> None:
    """:func:`engines.compile_engine` for one canvas; the suite's other parts compare what the file finds."""
    if device == "cuda":
        wait_for_kernels()
    engines.compile_engine(
        checkpoint, output, device=device, precision=precision, canvases=(canvas,), batch=batch, check=False
    )


def wait_for_kernels() -> None:
    """Wait while another process builds the kernels; compiled code is not made without them."""
    end = time.monotonic() + KERNELS_SECONDS
    while time.monotonic() < end:
        try:
            kernels_path()
        except FileNotFoundError:
            time.sleep(1)
        else:
            return


def _compiled_file(context: Context, checkpoint: Path, precision: str, batch: int) -> Path:
    return context.scratch / f"{checkpoint.stem}-{precision}-batch{batch}.pt2"


def begin_onnx(context: Context, checkpoint: Path, precision: Precision, canvas: Canvas) -> None:
    """Begin to export a checkpoint, and to build a TensorRT engine of it, where anything here runs them on a GPU."""
    onnx = _onnx_file(context, checkpoint, precision)
    if (has_onnxruntime_cuda() or has_tensorrt()) and not context.has_begun(onnx.name):
        context.begin(onnx.name, make_onnx, checkpoint, onnx, precision, canvas)


def load_onnxruntime(context: Context, checkpoint: Path, precision: Precision) -> Engine:
    """The exported file in ONNX Runtime on the GPU.

    Raises:
        NotRunError: ONNX Runtime has no CUDA provider here, or the export did not end in time.
        UserError: the file cannot be exported or opened.
    """
    if not has_onnxruntime_cuda():
        raise NotRunError("ONNX Runtime with its CUDA provider is not installed")
    onnx = _onnx_file(context, checkpoint, precision)
    context.answer(onnx.name)
    return engines.load(onnx, device="cuda")


def load_tensorrt(context: Context, checkpoint: Path, precision: Precision) -> Engine:
    """The exported file in TensorRT.

    Raises:
        NotRunError: TensorRT is not installed, or the build did not end in time.
        UserError: the file cannot be exported, built or opened.
    """
    if not has_tensorrt():
        raise NotRunError("the package tensorrt is not installed")
    onnx = _onnx_file(context, checkpoint, precision)
    context.answer(onnx.name)
    return engines.load(onnx.with_suffix(".engine"), device="cuda")


def make_onnx(checkpoint: Path, onnx: Path, precision: Precision, canvas: Canvas) -> None:
    """Export for one canvas and batches of one, and build an engine where TensorRT is installed."""
    from export import choose_bounds, export_onnx
    from refinemask.weights import read_config

    preprocessing = read_config(checkpoint).preprocessing
    bounds = choose_bounds(preprocessing, batch=(1,), static=canvas)
    export_onnx(checkpoint, onnx, bounds=bounds, precision=precision)
    if has_tensorrt():
        # The other parts compare what it finds.
        engines.build_engine(onnx, onnx.with_suffix(".engine"), precision=precision, check=False)


def _onnx_file(context: Context, checkpoint: Path, precision: Precision) -> Path:
    return context.scratch / f"{checkpoint.stem}-{precision}.onnx"


def has_tensorrt() -> bool:
    """Whether the package ``tensorrt`` is installed."""
    return find_spec("tensorrt") is not None


def has_onnxruntime_cuda() -> bool:
    """Whether ONNX Runtime here has the CUDA provider."""
    try:
        import onnxruntime
    except ImportError:
        return False
    return "CUDAExecutionProvider" in onnxruntime.get_available_providers()
