"""Quantisation of an exported file by Q/DQ nodes: written, compared with its source, only then put in its place."""

import dataclasses
import os
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import onnx
import onnx_ir as ir

from export.calibration import Calibration, Image, calibrate, read_calibration, split_images, write_calibration
from export.max_drop import goal_of, layers_to_keep, search_path
from export.model import add_bodies
from export.qdq import QuantizedType, insert_qdq, kept_layers, layers
from export.reading import read_model
from export.trials import Candidates
from export.verify import onnx_runner, require_onnxruntime
from refinemask.agreement import PARITY, Comparison, Parity, require_agreement, verification_images, verify
from refinemask.contract import Metadata, require_onnx_name
from refinemask.data.transforms import preprocess
from refinemask.files import UserError, atomic_write, require_not_input
from refinemask.kept_layers import KeptLayers


@dataclass(frozen=True, kw_only=True)
class QuantizationReport:
    """A quantised file that is near enough to its source."""

    output: Path
    """The quantised file."""
    metadata: Metadata
    """Metadata of the quantised file."""
    comparisons: tuple[Comparison, ...]
    """Detections of the quantised file beside those of its source, one entry for each batch."""
    parity: Parity
    """Limits that the comparisons had to keep."""
    kept: Mapping[str, tuple[str, ...]]
    """Names of the layers that are not quantised, by the reason why."""
    ranges: Path | None
    """File of a new calibration's ranges, beside the output; None where an earlier calibration was used."""


def quantize_onnx(
    model: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    images: str | os.PathLike[str],
    calibration: str | os.PathLike[str] | None = None,
    ranges: str | os.PathLike[str] | None = None,
    precision: QuantizedType = "int8",
    count: int = 64,
    max_drop: float | None = None,
    annotations: str | os.PathLike[str] | None = None,
) -> QuantizationReport:
    """Quantise an exported file, and compare it with the file it was made of on other images.

    Args:
        model: an fp32 or fp16 file of :func:`export.export_onnx`; what is not quantised keeps the type it has.
        output: the .onnx file to write; a file already there stays unless the new one is near enough.
        images: directory of the images to calibrate and to compare on.
        calibration: COCO annotations, whose images are calibrated on. This needs nvidia-modelopt, and writes the ranges
            beside the output.
        ranges: file of an earlier calibration of the same checkpoint, in place of ``calibration``.
        precision: the type that convolutions and linear layers are rounded to.
        count: number of images to calibrate on, spread evenly over the annotation file.
        max_drop: largest loss of mask AP and of boundary AP in points; as few layers as that takes are not quantised.
            What is measured lies beside the output meanwhile, and an interrupted search goes on from it.
        annotations: annotations to judge ``max_drop`` by, of images in ``images``.

    Raises:
        UserError: a file cannot be used or does not fit the others, or nvidia-modelopt is missing; nothing is written.
        MismatchError: the quantised file is too far from its source; nothing is written.
        FailedCheckError: ``max_drop`` is met only if nothing is quantised; nothing is written.
    """
    model, output = Path(model), Path(output)
    require_onnx_name(output)
    require_not_input(output, model, calibration, ranges, annotations)
    goal = goal_of(max_drop, annotations, Path(images))
    if calibration is not None:
        require_not_input(output.with_suffix(".ranges.json"), model, calibration)
    require_onnxruntime()
    graph = read_model(model)
    metadata, parity, bodies = _metadata(graph, model), PARITY[precision], bool(graph.functions)
    with _runnable(model, graph) as source, atomic_write(output) as temporary:
        measured, held_out = _measure(source, metadata, Path(images), calibration, ranges, count)
        _require_fit(graph, metadata, measured)
        kept = None if goal is None else layers_to_keep(goal, Candidates(source, measured, precision), output)
        metadata = _quantize(graph, metadata, measured, precision, kept)
        ir.save(graph, temporary)
        onnx.checker.check_model(temporary, full_check=True)
        runners = onnx_runner(temporary, output), onnx_runner(source, model)
        comparisons = verify(*runners, metadata.config.preprocessing, metadata.bounds, held_out)
        require_agreement(comparisons, parity, output, str(model))
        if not bodies:
            graph.functions.clear()
            ir.save(graph, temporary)
    written = output.with_suffix(".ranges.json") if calibration is not None else None
    if written is not None:
        write_calibration(measured, written)
    search_path(output).unlink(missing_ok=True)
    return QuantizationReport(
        output=output,
        metadata=metadata,
        comparisons=tuple(comparisons),
        parity=parity,
        kept=_kept_by_reason(graph.graph, measured, kept),
        ranges=written,
    )


def _metadata(model: ir.Model, path: Path) -> Metadata:
    """The metadata of a file that can be quantised."""
    metadata = Metadata.from_properties(model.metadata_props, path)
    if metadata.precision not in ("fp32", "fp16"):
        raise UserError(
            f"{path}: its precision is {metadata.precision}; expected an fp32 or fp16 file of export.to_onnx"
        )
    return metadata


@contextmanager
def _runnable(path: Path, model: ir.Model) -> Iterator[Path]:
    """A file with bodies, which ONNX Runtime needs: ``path``, or a copy for which they are added to ``model``."""
    if model.functions:
        yield path
        return
    add_bodies(model)
    with tempfile.TemporaryDirectory() as directory:
        copy = Path(directory) / path.name
        ir.save(model, copy)
        yield copy


def _measure(
    source: Path,
    metadata: Metadata,
    images: Path,
    annotations: str | os.PathLike[str] | None,
    ranges: str | os.PathLike[str] | None,
    count: int,
) -> tuple[Calibration, list[Image]]:
    """The ranges of the file at ``source``, new or recorded, and images to compare on."""
    window = metadata.config.preprocessing.window
    if annotations is None and ranges is not None:
        return read_calibration(Path(ranges)), verification_images(images, window=window)
    if annotations is None or ranges is not None:
        raise UserError("give either --calibration (COCO annotations) or --ranges (of an earlier calibration)")
    if count < 1:
        raise UserError(f"--count {count}: expected at least one image to calibrate on")
    chosen, held_out = split_images(Path(annotations), images, count, window)
    typical = metadata.bounds.height[1], metadata.bounds.width[1]
    return calibrate(source, preprocess(chosen, metadata.config.preprocessing, typical)), held_out


def _require_fit(model: ir.Model, metadata: Metadata, calibration: Calibration) -> None:
    """Raise a UserError if the ranges are of another checkpoint, or of another version of its layers."""
    if calibration.source_sha256 != metadata.source_sha256:
        raise UserError("the ranges are of another checkpoint than the file: calibrate again (--calibration)")
    if unknown := set(calibration.ranges) - set(layers(model.graph)):
        raise UserError(f"the ranges name layers that the file lacks ({min(unknown)}, …): calibrate again")


def _quantize(
    model: ir.Model, metadata: Metadata, calibration: Calibration, precision: QuantizedType, kept: KeptLayers | None
) -> Metadata:
    """Put Q/DQ nodes around the layers that have a range and are not kept, in place, and say so in the metadata."""
    insert_qdq(
        model.graph, {k: v for k, v in calibration.ranges.items() if not kept or k not in kept.layers}, precision
    )
    quantised = dataclasses.replace(
        metadata,
        precision=precision,
        calibration=calibration.tool,
        calibration_images=calibration.images,
        kept=kept,
    )
    model.metadata_props.update(quantised.to_properties())
    return quantised


def _kept_by_reason(
    graph: ir.Graph, calibration: Calibration, searched: KeptLayers | None
) -> dict[str, tuple[str, ...]]:
    kept, names = kept_layers(graph), defaultdict(list)
    for name in layers(graph):
        if searched is not None and name in searched.layers:
            names[f"8 bits cost more than {searched.max_drop:g} points of AP"].append(name)
        elif name not in calibration.ranges:
            names[kept.get(name, "left out by nvidia-modelopt")].append(name)
    return {reason: tuple(layers) for reason, layers in names.items()}
