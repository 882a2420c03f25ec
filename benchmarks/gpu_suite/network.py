"""The whole detector on the device: the exported file and the engines made of it, in speed and accuracy."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import ParamSpec

import engines
from benchmarks.harness.child import call_in_child
from benchmarks.harness.comparison import compare
from benchmarks.harness.report_file import write_report
from benchmarks.harness.settings import Settings
from benchmarks.harness.tables import print_comparison
from export import export_onnx
from refinemask.bundled import NUCLEI
from refinemask.data.coco import read_coco
from refinemask.files import FailedCheckError
from refinemask.modeling.exported import Precision

Options = ParamSpec("Options")
PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "bf16")
ANNOTATIONS = NUCLEI / "annotations" / "instances_val.json"
IMAGES = NUCLEI / "images"


class NotRunError(Exception):
    """A part that this machine cannot run, and why."""


@dataclass(frozen=True)
class NetworkReport:
    """Whole networks side by side."""

    report: str
    """Name of the file that has the figures."""
    engines: tuple[str, ...]
    """Names of the files that were measured."""


def precisions() -> tuple[Precision, ...]:
    """The precisions that the engines of this machine take."""
    return PRECISIONS if has_tensorrt() else PRECISIONS[:1]


def export_file(checkpoint: Path, directory: Path, precision: Precision, timeout: float) -> Path:
    """The checkpoint as ONNX.

    Raises:
        UserError: the checkpoint cannot be used.
        NotRunError: the file does not agree with PyTorch, or it took too long.
    """
    onnx = directory / f"model-{precision}.onnx"
    _within(timeout, export_onnx, checkpoint, onnx, precision=precision, verify_images=IMAGES)
    return onnx


def build_engine(onnx: Path, precision: Precision, timeout: float) -> Path:
    """A TensorRT engine of an exported file.

    Raises:
        UserError: TensorRT refuses the file.
        NotRunError: TensorRT is not installed, the precision is not met, or it took too long.
    """
    if not has_tensorrt():
        raise NotRunError("the package tensorrt is not installed")
    engine = onnx.with_suffix(".engine")
    _within(timeout, engines.build_engine, onnx, engine, precision=precision)
    return engine


def measure_engines(files: Sequence[Path], output: Path, limit: int) -> NetworkReport:
    """Latency, AP and boundary AP of engines on the device, interleaved; the first is the baseline."""
    report = compare([str(path) for path in files], read_coco(ANNOTATIONS), IMAGES, Settings(device="cuda"), limit)
    write_report(report, output)
    print_comparison(report)
    return NetworkReport(output.name, tuple(path.name for path in files))


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


def _within(timeout: float, make: Callable[Options, object], *args: Options.args, **options: Options.kwargs) -> None:
    """Make a file in so many seconds, in a process of its own: nothing else can be stopped."""
    try:
        call_in_child(timeout, make, *args, **options)
    except TimeoutError as error:
        raise NotRunError(f"{make.__name__} did not finish in the {timeout:.0f} s that were left") from error
    except FailedCheckError as error:
        raise NotRunError(str(error)) from error
