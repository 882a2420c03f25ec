"""The whole detector on the device: the exported file and the engines made of it, in speed and accuracy."""

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from benchmarks.harness.comparison import compare
from benchmarks.harness.report_file import write_report
from benchmarks.harness.settings import Settings
from benchmarks.harness.tables import print_comparison
from refinemask.bundled import NUCLEI
from refinemask.data.coco import read_coco

PRECISIONS = ("fp32", "fp16", "bf16")
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


def precisions() -> tuple[str, ...]:
    """The precisions that the engines of this machine take."""
    return PRECISIONS if has_tensorrt() else PRECISIONS[:1]


def export_file(checkpoint: Path, directory: Path, precision: str, timeout: float) -> Path:
    """The checkpoint as ONNX.

    Raises:
        NotRunError: it failed or took too long; with its message.
    """
    onnx = directory / f"model-{precision}.onnx"
    arguments = ["--checkpoint", str(checkpoint), "--output", str(onnx), "--precision", precision]
    _run([sys.executable, "-m", "export.to_onnx", *arguments, "--verify-images", str(IMAGES)], timeout)
    return onnx


def build_engine(onnx: Path, precision: str, timeout: float) -> Path:
    """A TensorRT engine of an exported file.

    Raises:
        NotRunError: TensorRT is not installed, or the build failed; with its message.
    """
    if not has_tensorrt():
        raise NotRunError("the package tensorrt is not installed")
    engine = onnx.with_suffix(".engine")
    _run([sys.executable, "-m", "engines.build", str(onnx), "-o", str(engine), "--precision", precision], timeout)
    return engine


def measure_engines(engines: Sequence[Path], output: Path, limit: int) -> NetworkReport:
    """Latency, AP and boundary AP of engines on the device, interleaved; the first is the baseline."""
    report = compare([str(path) for path in engines], read_coco(ANNOTATIONS), IMAGES, Settings(device="cuda"), limit)
    write_report(report, output)
    print_comparison(report)
    return NetworkReport(output.name, tuple(path.name for path in engines))


def has_tensorrt() -> bool:
    return find_spec("tensorrt") is not None


def has_onnxruntime_cuda() -> bool:
    """Whether ONNX Runtime here has the CUDA provider."""
    try:
        import onnxruntime
    except ImportError:
        return False
    return "CUDAExecutionProvider" in onnxruntime.get_available_providers()


def _run(command: list[str], timeout: float) -> None:
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
    except subprocess.TimeoutExpired as error:
        raise NotRunError(f"{' '.join(command[1:4])} did not finish in the {timeout:.0f} s that were left") from error
    if result.returncode != 0:
        lines = (result.stderr or result.stdout).strip().splitlines()
        raise NotRunError(f"{' '.join(command[1:4])} failed: {lines[-1] if lines else f'exit {result.returncode}'}")
