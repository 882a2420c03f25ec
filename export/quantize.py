"""Quantise an exported file to int8 by Q/DQ nodes, calibrated on real images through the model's own preprocessing.

Runs in an environment of its own, because nvidia-modelopt pins older versions of onnx and ONNX Runtime::

    make quantize-env
    .venv-quantize/bin/python -m export.quantize model.onnx --output model-int8.onnx --calibration val.json --images DIR

What is not quantised keeps the type it has: TensorRT runs an int8 file made of an fp16 export in int8 and fp16.
"""

import re
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import tyro
from numpy.typing import NDArray
from rich.console import Console

from export.bounds import Bounds
from export.check import load
from export.verify import NUM_IMAGES, PARITY, MismatchError, onnx_runner, passes, report, verify
from refinemask.config import ModelConfig, from_json
from refinemask.data.coco import read_coco
from refinemask.data.images import read_image
from refinemask.data.transforms import NetworkInput, preprocess
from refinemask.files import UserError, atomic_write

QUANTISED = ("Conv", "Gemm")
KEPT = {
    r"rpn\.(cls_logits|bbox_deltas)\.": "scores and offsets of proposals: 8 bits would shift every box",
    r"box_head\.(cls_logits|bbox_deltas)\.": "scores and offsets of detections",
    r"backbone\.conv1\.": "the stem reads the image with 3 channels: little work, all of the signal",
}
"""Layers left as they are, by the name of their weight, and why."""


@dataclass(frozen=True)
class Args:
    """Quantise an exported file to int8, and compare it with the file it was made of on other images."""

    model: tyro.conf.Positional[Path]
    output: Path
    calibration: Path
    """COCO annotations: which images to calibrate on."""
    images: Path
    """Directory of the images."""
    count: int = 64
    """Images for the calibration, spread evenly over the annotation file."""


def quantize(model: Path, output: Path, calibration: NetworkInput) -> dict[str, str]:
    """Write ``model`` with Q/DQ nodes around its convolutions and linear layers, bodies and metadata included.

    Returns:
        Names of the layers that were kept, each with the reason.

    Raises:
        UserError: nvidia-modelopt is not installed in this environment.
    """
    try:
        import modelopt.onnx.quantization as modelopt
    except ImportError as error:
        raise UserError(
            "nvidia-modelopt is not installed here; run make quantize-env, and this with .venv-quantize/bin/python"
        ) from error
    source = load(model)
    kept = kept_layers(source.graph)
    modelopt.quantize(
        str(model),
        quantize_mode="int8",
        calibration_data={"images": calibration.images, "image_sizes": calibration.image_sizes},
        # The largest value as the range costs 0.5 mask AP on the nuclei set; entropy none.
        calibration_method="entropy",
        calibration_eps=["cpu"],
        op_types_to_quantize=list(QUANTISED),
        # They are taken for regular expressions that match from the start.
        nodes_to_exclude=[f"{re.escape(name)}$" for name in kept],
        # Its conversion of the rest to fp16 fails on custom nodes; the rest keeps the types of the file.
        high_precision_dtype="fp32",
        output_path=str(output),
        log_level="ERROR",
    )
    result = ir.load(output)
    for name in unquantised_layers(result.graph):
        kept.setdefault(name, "left out by nvidia-modelopt")
    result.metadata_props.update(source.metadata_props)
    result.metadata_props["precision"] = "int8"
    result.metadata_props["calibration_images"] = str(len(calibration.images))
    ir.save(result, output)
    return kept


def kept_layers(graph: ir.Graph) -> dict[str, str]:
    """Names of the layers that are not to be quantised, and why."""
    weights = {name: str(node.inputs[1].name) for name, node in _layers(graph).items() if node.inputs[1]}
    return {
        name: reason
        for name, weight in weights.items()
        for pattern, reason in KEPT.items()
        if re.search(pattern, weight)
    }


def unquantised_layers(graph: ir.Graph) -> list[str]:
    """Names of the layers that read something else than int8."""
    sources = {name: node.inputs[0].producer() for name, node in _layers(graph).items() if node.inputs[0]}
    return [name for name, source in sources.items() if source is None or source.op_type != "DequantizeLinear"]


def _layers(graph: ir.Graph) -> dict[str, ir.Node]:
    return {node.name or "": node for node in graph if node.op_type in QUANTISED}


def main(args: Args | None = None) -> int:
    """Run the command line: exit code 1 when the result is too far from the original, 2 for wrong input."""
    args = args or tyro.cli(Args)
    try:
        _quantize(args)
    except (UserError, MismatchError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1 if isinstance(error, MismatchError) else 2
    return 0


def _quantize(args: Args) -> None:
    metadata = load(args.model).metadata_props
    if "config" not in metadata or metadata.get("precision") not in ("fp32", "fp16"):
        raise UserError(f"{args.model}: expected an fp32 or fp16 file written by python -m export.to_onnx")
    preprocessing = from_json(ModelConfig, metadata["config"]).preprocessing
    bounds = Bounds.from_json(metadata["bounds"])
    calibration, held_out = _read_images(args)
    console, parity = Console(), PARITY["int8"]
    with atomic_write(args.output) as temporary, tempfile.TemporaryDirectory() as scratch:
        result = Path(scratch) / "int8.onnx"
        canvas = bounds.height[1], bounds.width[1]
        kept = quantize(args.model, result, preprocess(calibration, preprocessing, canvas))
        onnx.checker.check_model(result, full_check=True)
        comparisons = verify(onnx_runner(result), onnx_runner(args.model), preprocessing, bounds, held_out)
        console.print(report(comparisons, parity, f"int8 against {args.model.name}, worst of each"))
        if not passes(comparisons, parity):
            raise MismatchError(f"{args.output}: not written, int8 is too far from {args.model} (see the table)")
        temporary.write_bytes(result.read_bytes())
    for reason, names in _by_reason(kept).items():
        console.print(f"not quantised ({len(names)}): {reason}")
    console.print(f"{args.output}: written")


def _read_images(args: Args) -> tuple[list[NDArray[np.uint8]], list[NDArray[np.uint8]]]:
    """Calibration images, and others to compare on; where there are too few, some serve for both."""
    entries = read_coco(args.calibration).images
    if not entries:
        raise UserError(f"{args.calibration}: lists no images to calibrate on")
    chosen = _spread(len(entries), args.count)
    others = sorted(set(range(len(entries))) - set(chosen)) or chosen
    held_out = [others[index] for index in _spread(len(others), NUM_IMAGES)]
    first, second = (
        [read_image(args.images / entries[index].file_name) for index in part] for part in (chosen, held_out)
    )
    return first, second


def _spread(total: int, count: int) -> list[int]:
    """Up to ``count`` of the numbers below ``total``, evenly."""
    return sorted({round(position) for position in np.linspace(0, total - 1, min(count, total))})


def _by_reason(kept: dict[str, str]) -> dict[str, Sequence[str]]:
    return {reason: [name for name, other in kept.items() if other == reason] for reason in kept.values()}


if __name__ == "__main__":
    raise SystemExit(main())
