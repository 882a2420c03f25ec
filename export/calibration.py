"""The ranges of the tensors that a quantised file rounds: measured with nvidia-modelopt, kept in a small JSON file."""

import json
import re
import tempfile
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Annotated

import numpy as np
import onnx_ir as ir
from msgspec import Meta
from numpy.typing import NDArray

from export.qdq import kept_layers, layers
from export.reading import read_model
from refinemask.agreement import NUM_IMAGES
from refinemask.config import Window
from refinemask.config_json import from_json
from refinemask.contract import INPUTS, Metadata
from refinemask.data.annotated import locate
from refinemask.data.coco import read_coco
from refinemask.data.images import read_image
from refinemask.data.transforms import NetworkInput
from refinemask.files import UserError, atomic_write
from refinemask.json_files import Positive
from refinemask.readable import require_readable

METHOD = "entropy"
"""Choice of a range; the largest value would cost half a point of mask AP on the nuclei set (benchmarks/results)."""
INT8_LIMIT = 127

Image = NDArray[np.uint8]
"""[H, W, 3] RGB."""


Range = Annotated[float, Meta(gt=0, le=8e6)]
"""A magnitude, whose 127th part is a scale that float16 can hold."""


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Measured ranges, valid for every export of the checkpoint, whatever the precision or size of the export."""

    source_sha256: str
    """SHA-256 of the checkpoint."""
    tool: Annotated[str, Meta(min_length=1, max_length=1000)]
    """Tool and method that measured the ranges."""
    images: Positive
    """Number of images that the ranges were measured on."""
    ranges: dict[str, Range]
    """Largest magnitude that is kept of each layer's input, by the layer's name."""


def read_calibration(path: Path) -> Calibration:
    """Read a calibration.

    Raises:
        UserError: the file is missing, or is no calibration.
    """
    require_readable(path)
    try:
        return from_json(Calibration, path.read_bytes())
    except ValueError as error:
        raise UserError(
            f"{path}: not a calibration written by python -m export.quantize ({error}); calibrate again (--calibration)"
        ) from error


def write_calibration(calibration: Calibration, path: Path) -> None:
    """Write a calibration, atomically.

    Raises:
        UserError: the file cannot be written.
    """
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(asdict(calibration), indent=1) + "\n")


def split_images(
    annotations: Path, directory: Path, count: int, window: Window | None = None
) -> tuple[list[Image], list[Image]]:
    """``count`` images to calibrate on, and others to compare on; where there are too few, some serve for both.

    Args:
        annotations: COCO annotations, over whose images both choices are spread evenly.
        directory: directory of the images.
        count: number of images to calibrate on.
        window: the model's window, for images of more than 8 bits.

    Raises:
        UserError: the annotations list no images, or one of the images cannot be read.
    """
    entries = read_coco(annotations).images
    if not entries:
        raise UserError(f"{annotations}: lists no images to calibrate on")
    chosen = _spread(len(entries), count)
    others = sorted(set(range(len(entries))) - set(chosen)) or chosen
    held_out = [others[index] for index in _spread(len(others), NUM_IMAGES)]
    first, second = (
        [read_image(locate(directory, entries[index].file_name), window) for index in part]
        for part in (chosen, held_out)
    )
    return first, second


def calibrate(model: Path, inputs: NetworkInput) -> Calibration:
    """Run an exported file on images and choose the ranges of its layers' inputs.

    Layers for which nvidia-modelopt knows no fast kernel, and those of :data:`export.qdq.KEPT`, get no range.

    Args:
        model: the exported file.
        inputs: the preprocessed images.

    Raises:
        UserError: nvidia-modelopt is not installed in this environment.
    """
    try:
        import modelopt.onnx.quantization as modelopt
    except ImportError as error:
        raise UserError(
            "nvidia-modelopt is not installed here; run make quantize-env, and this with .venv-quantize/bin/python"
        ) from error
    source = read_model(model)
    with tempfile.TemporaryDirectory() as directory:
        result = Path(directory) / "int8.onnx"
        modelopt.quantize(
            str(model),
            quantize_mode="int8",
            calibration_data={name: getattr(inputs, name) for name in INPUTS},
            calibration_method=METHOD,
            calibration_eps=["cpu"],
            op_types_to_quantize=["Conv", "Gemm"],
            # The names are taken for regular expressions that match from the start.
            nodes_to_exclude=[f"{re.escape(name)}$" for name in kept_layers(source.graph)],
            # The tool's conversion of the other layers to fp16 fails on custom nodes.
            high_precision_dtype="fp32",
            output_path=str(result),
            log_level="ERROR",
        )
        ranges = _ranges(ir.load(result).graph)
    return Calibration(
        source_sha256=Metadata.from_properties(source.metadata_props, model).source_sha256,
        tool=f"nvidia-modelopt {metadata.version('nvidia-modelopt')}, {METHOD}",
        images=len(inputs.images),
        ranges=ranges,
    )


def _spread(total: int, count: int) -> list[int]:
    """Up to ``count`` of the numbers below ``total``, spread evenly."""
    return sorted({round(position) for position in np.linspace(0, total - 1, min(count, total))})


def _ranges(quantised: ir.Graph) -> dict[str, float]:
    ranges = {}
    for name, node in layers(quantised).items():
        dequantize = node.inputs[0].producer() if node.inputs[0] else None
        if dequantize is not None and dequantize.op_type == "DequantizeLinear":
            scale = ir.convenience.get_const_tensor(dequantize.inputs[1])  # type: ignore[arg-type]
            assert scale is not None
            ranges[name] = INT8_LIMIT * float(scale.numpy())
    return ranges
