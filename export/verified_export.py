"""Export of a checkpoint to ONNX: written, compared with PyTorch on real images, and only then put in its place."""

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path

import onnx
import onnx_ir as ir

from export.bounds import choose_bounds
from export.model import to_onnx
from export.stages import require_stages, verify_stages
from export.tensorrt_rules import Finding, check_model
from export.verify import observed_runner, require_onnxruntime
from refinemask.agreement import PARITY, Comparison, Parity, StageCheck, verification_images
from refinemask.bundled import DEMO
from refinemask.config import Window, with_window
from refinemask.contract import Bounds, Masks, Metadata, require_onnx_name
from refinemask.files import UserError, atomic_write, require_not_input, sha256
from refinemask.modeling.exported import Precision
from refinemask.weights import load_detector, read_metadata


@dataclass(frozen=True, kw_only=True)
class ExportReport:
    """An exported file that agrees with PyTorch."""

    output: Path
    """The exported file."""
    metadata: Metadata
    """Metadata of the exported file."""
    stages: tuple[StageCheck, ...]
    """Each stage of the file in ONNX Runtime, judged by PyTorch in float32, on each batch."""
    comparisons: tuple[Comparison, ...]
    """Detections of the file beside those of PyTorch, one entry for each batch; roundings decide between near-ties."""
    parity: Parity
    """How near a detection is to count as agreeing."""
    refusals: tuple[Finding, ...]
    """What TensorRT will refuse although it has the plugins; empty for masks ``found``, which are not for TensorRT."""

    @property
    def has_detections(self) -> bool:
        """Whether any picture has a detection; without one, boxes and masks remain unverified."""
        return any(len(comparison.boxes) for comparison in self.comparisons)


def export_onnx(
    checkpoint: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    bounds: Bounds | None = None,
    precision: Precision = "fp32",
    masks: Masks = "all",
    opset: int | None = None,
    bodies: bool = True,
    verify_images: str | os.PathLike[str] | None = None,
    detections: int | None = None,
    score_threshold: float | None = None,
    window: Window | None = None,
) -> ExportReport:
    """Export a checkpoint to ONNX, and verify the file against PyTorch on real images.

    Args:
        checkpoint: the .safetensors file.
        output: the .onnx file to write; a file already there stays unless the new one agrees.
        bounds: batches and sizes that the file accepts; None is every size that the model's preprocessing gives, and
            batches of 1 to 8 (:func:`export.choose_bounds` makes others).
        precision: type of weights and features; box arithmetic, scores and the boundary test are float32 in any case.
        masks: ``all`` computes a mask for every place for a detection, ``found`` only for detections.
        opset: ONNX operator set; None is the precision's own.
        bodies: whether the file carries the custom operators' bodies, without which only TensorRT with plugins runs it.
        verify_images: directory with pictures for the verification; None is the bundled ones.
        detections: largest number of detections per image, 1 to 3840; None is the checkpoint's.
        score_threshold: score above which a detection counts; None is the checkpoint's.
        window: how the file's users map images of more than 8 bits to 8, recorded in it; None is the checkpoint's.

    Raises:
        UserError: the checkpoint cannot be used, no engine would run such a file, or ONNX Runtime is not installed;
            nothing is written.
        MismatchError: the file does not agree with PyTorch; nothing is written.
    """
    checkpoint, output = Path(checkpoint), Path(output)
    require_onnx_name(output)
    require_not_input(output, checkpoint)
    _require_an_engine(output, precision, masks, bodies)
    require_onnxruntime()
    detector = load_detector(checkpoint, detections=detections, score_threshold=score_threshold)
    detector.config = with_window(detector.config, window)
    preprocessing = detector.config.preprocessing
    bounds = bounds or choose_bounds(preprocessing)
    images = verification_images(_pictures(verify_images), "--verify-images", preprocessing.window)
    model = to_onnx(detector, bounds, precision=precision, masks=masks, opset=opset)
    metadata = _with_origin(model, checkpoint, output)
    with atomic_write(output) as temporary:
        ir.save(model, temporary)
        onnx.checker.check_model(temporary, full_check=True)
        file = observed_runner(temporary, output)
        stages, comparisons = verify_stages(file, detector, precision, bounds, images)
        require_stages(stages, comparisons, precision, output)
        if not bodies:
            model.functions.clear()
            ir.save(model, temporary)
    refused = check_model(model, "tensorrt-10") if masks == "all" else []
    return ExportReport(
        output=output,
        metadata=metadata,
        stages=tuple(stages),
        comparisons=tuple(comparisons),
        parity=PARITY[precision],
        refusals=tuple(finding for finding in refused if finding.body is None),
    )


def _require_an_engine(output: Path, precision: Precision, masks: Masks, bodies: bool) -> None:
    if masks == "found" and (precision == "bf16" or not bodies):
        option = "--no-bodies" if not bodies else "--precision bf16"
        raise UserError(
            f"{output}: no engine runs --masks found with {option}: a file with {option} is for TensorRT alone, "
            "and TensorRT does not run --masks found; leave one of them out"
        )


def _pictures(directory: str | os.PathLike[str] | None) -> Path:
    """The given directory with pictures, or the demo's."""
    if directory is None and not DEMO.is_dir():
        raise UserError(
            f"{DEMO}: no pictures come with this installation, and the export is verified on pictures: "
            "name a directory of pictures with --verify-images"
        )
    return DEMO if directory is None else Path(directory)


def _with_origin(model: ir.Model, checkpoint: Path, output: Path) -> Metadata:
    """Add the checkpoint that the model was made of to the model's metadata, and return them."""
    metadata = dataclasses.replace(
        Metadata.from_properties(model.metadata_props, output),
        recipe=read_metadata(checkpoint).get("recipe", ""),
        source_sha256=sha256(checkpoint),
    )
    model.metadata_props.update(metadata.to_properties())
    return metadata
