"""Quantisation of an exported file by Q/DQ nodes: written, compared with its source, only then put in its place."""

import dataclasses
import os
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import onnx
import onnx_ir as ir

from export.calibration.images import Choice, Image, choose_images
from export.calibration.methods import Method
from export.calibration.ranges import METHOD, Calibration, calibrate, read_calibration, write_calibration
from export.max_drop.choose import goal_of, layers_to_keep, search_path
from export.max_drop.trials import Candidates
from export.model import add_bodies
from export.qdq import QuantizedType, insert_qdq, kept_layers, layers
from export.reading import read_model
from export.verify import onnx_runner, require_onnxruntime
from refinemask.agreement import PARITY, Comparison, Parity, require_agreement, verification_images, verify
from refinemask.contract import Metadata, require_onnx_name
from refinemask.files import UserError, atomic_write, require_not_input
from refinemask.kept_layers import KeptLayers
from refinemask.options import require_at_least

COUNT = 64
"""Images that are calibrated on unless it is said otherwise."""
WITHOUT_RANGE = "without a range: not calibrated, or the input was 0 in all images"
"""Why a layer stays as it is that could be quantised."""


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
    method: Method | None = None,
    count: int | None = None,
    max_drop: float | None = None,
    annotations: str | os.PathLike[str] | None = None,
    backend: str | None = None,
) -> QuantizationReport:
    """Quantise an exported file, and compare it with the file it was made of on other images.

    Unless there are ranges of an earlier calibration, it is calibrated on images, which need no annotations, and the
    ranges are written beside the output. An interrupted calibration goes on when the function is called again.

    Args:
        model: an fp32 or fp16 file of :func:`export.export_onnx`; what is not quantised keeps the type it has.
        output: the .onnx file to write; a file already there stays unless the new one is near enough.
        images: directory of the images to calibrate and to compare on.
        calibration: COCO annotations: of the images in ``images`` those that they list are calibrated and compared on.
        ranges: file of an earlier calibration of the same checkpoint, in place of a new one.
        precision: the type that convolutions and linear layers are rounded to.
        method: how a calibration chooses the ranges; None is ``percentile-99.99``.
        count: number of images to calibrate on, spread evenly over all; None is 64.
        max_drop: largest loss of mask AP and of boundary AP in points; as few layers as that takes are not quantised.
            What is measured lies beside the output meanwhile, and an interrupted search goes on from it.
        annotations: annotations to judge ``max_drop`` by, of images in ``images``.
        backend: the engine to judge ``max_drop`` in, ``onnxruntime`` (also None) or ``openvino``.

    Raises:
        UserError: a file cannot be used or does not fit the others. Nothing is written, but for what is needed to go
            on with the calibration or the search.
        MismatchError: the quantised file is too far from its source. Likewise: another method needs no second run.
        FailedCheckError: ``max_drop`` is met only if nothing is quantised. Likewise.
    """
    model, output = Path(model), Path(output)
    written, progress = output.with_suffix(".ranges.json"), output.with_suffix(".ranges.partial")
    require_onnx_name(output)
    require_not_input(output, model, calibration, ranges, annotations)
    if ranges is None:
        require_not_input(written, model, calibration, annotations)
    else:
        _require_no_calibration(calibration=calibration, method=method, count=count)
    goal = goal_of(max_drop, annotations, Path(images), backend)
    require_onnxruntime()
    graph = read_model(model)
    metadata, bodies = _metadata(graph, model), bool(graph.functions)
    choice = None if ranges is not None else _choose(images, calibration, count, metadata)
    with _runnable(model, graph) as source, atomic_write(output) as temporary:
        if choice is None:
            measured = read_calibration(Path(ranges or ""))
            held_out = verification_images(Path(images), window=metadata.config.preprocessing.window)
        else:
            measured = calibrate(source, model, choice, method or METHOD, progress)
            held_out = [choice.read(path) for path in choice.held_out]
        _require_fit(graph, metadata, measured)
        kept = None if goal is None else layers_to_keep(goal, Candidates(source, measured, precision), output)
        metadata = _quantize(graph, metadata, measured, precision, kept)
        ir.save(graph, temporary)
        comparisons = _compared((temporary, output), (source, model), metadata, held_out)
        if not bodies:
            graph.functions.clear()
            ir.save(graph, temporary)
    if choice is not None:
        write_calibration(measured, written)
        progress.unlink(missing_ok=True)
    search_path(output).unlink(missing_ok=True)
    return QuantizationReport(
        output=output,
        metadata=metadata,
        comparisons=comparisons,
        parity=PARITY[precision],
        kept=_reasons(graph.graph, measured, kept),
        ranges=None if choice is None else written,
    )


def write_quantized(
    model: str | os.PathLike[str], output: Path, calibration: Calibration, precision: QuantizedType
) -> Metadata:
    """Write a quantised file that is compared with nothing, as measurements need it.

    Args:
        model: an fp32 or fp16 file of :func:`export.export_onnx`.
        output: the .onnx file to write.
        calibration: its ranges.
        precision: the type that convolutions and linear layers are rounded to.

    Returns:
        The metadata of the new file.

    Raises:
        UserError: the model cannot be quantised, or the ranges are of another one.
    """
    graph = read_model(model)
    metadata = _metadata(graph, Path(model))
    _require_fit(graph, metadata, calibration)
    metadata = _quantize(graph, metadata, calibration, precision)
    with atomic_write(output) as temporary:
        ir.save(graph, temporary)
    return metadata


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


def _require_no_calibration(**options: object) -> None:
    """Raise a UserError if there are options of a new calibration, beside ranges of an earlier one."""
    for option, value in options.items():
        if value is not None:
            raise UserError(
                f"--{option} is for a new calibration, and --ranges are of an earlier one: leave out one of the two"
            )


def _choose(
    images: str | os.PathLike[str], annotations: str | os.PathLike[str] | None, count: int | None, metadata: Metadata
) -> Choice:
    """The images of a new calibration."""
    require_at_least(1, count=count)
    listed = None if annotations is None else Path(annotations)
    return choose_images(Path(images), listed, count or COUNT, metadata.config.preprocessing.window)


def _require_fit(model: ir.Model, metadata: Metadata, calibration: Calibration) -> None:
    """Raise a UserError if the ranges are of another checkpoint, or of another version of its layers."""
    if calibration.source_sha256 != metadata.source_sha256:
        raise UserError("the ranges are of another checkpoint than the file: calibrate again, without --ranges")
    if unknown := set(calibration.ranges) - set(layers(model.graph)):
        raise UserError(f"the ranges name layers that the file lacks ({min(unknown)}, …): calibrate again")


def _quantize(
    model: ir.Model,
    metadata: Metadata,
    calibration: Calibration,
    precision: QuantizedType,
    kept: KeptLayers | None = None,
) -> Metadata:
    """Put Q/DQ nodes around the layers that have a range and are not kept, in place, and say so in the metadata."""
    insert_qdq(model.graph, calibration.without(kept.layers if kept else ()).ranges, precision)
    quantised = dataclasses.replace(
        metadata,
        precision=precision,
        calibration=calibration.tool,
        calibration_images=calibration.images,
        kept=kept,
    )
    model.metadata_props.update(quantised.to_properties())
    return quantised


def _compared(
    written: tuple[Path, Path], source: tuple[Path, Path], metadata: Metadata, images: Sequence[Image]
) -> tuple[Comparison, ...]:
    """Compare a quantised file with its source, each given where it lies and as it is called.

    Raises:
        MismatchError: their detections are too far from each other.
    """
    onnx.checker.check_model(written[0], full_check=True)
    runners = onnx_runner(*written), onnx_runner(*source)
    comparisons = verify(*runners, metadata.config.preprocessing, metadata.bounds, images)
    require_agreement(comparisons, PARITY[metadata.precision], written[1], str(source[1]))
    return tuple(comparisons)


def _reasons(graph: ir.Graph, calibration: Calibration, searched: KeptLayers | None) -> dict[str, tuple[str, ...]]:
    """Names of the layers that are not quantised, by the reason why."""
    kept, names = kept_layers(graph), defaultdict(list)
    for name in layers(graph):
        if searched is not None and name in searched.layers:
            names[f"8 bits cost more than {searched.max_drop:g} points of AP"].append(name)
        elif name not in calibration.ranges:
            names[kept.get(name, WITHOUT_RANGE)].append(name)
    return {reason: tuple(layers) for reason, layers in names.items()}
