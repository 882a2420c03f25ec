"""The int8 files that are measured: calibrated on the images and quantised, unless the work directory has them."""

from pathlib import Path

from benchmarks.efficiency.files import Source, exported, exported_name, was_made_of
from benchmarks.harness.child import call_in_child
from export import MismatchError, quantize_onnx
from refinemask.files import UserError


def quantised(
    source: Source, work: Path, images: Path, size: tuple[int, int] | None, calibrated_at: tuple[int, int]
) -> Path:
    """The model's int8 file for batch 1, unless ``work`` has it of this checkpoint and version.

    Args:
        source: the model.
        work: directory of the files.
        images: directory of the images to calibrate and to compare on.
        size: the one padded (height, width) that the file takes; None is every size that the model's preprocessing
            gives.
        calibrated_at: the size whose ranges serve all files of the model.

    Raises:
        UserError: the file could not be quantised, or its detections are too far from those of the fp32 file.
    """
    path, onnx = exported_name(source, work, size, "int8"), exported(source, work, images, size)
    if path.is_file() and was_made_of(path, source.checkpoint, "int8"):
        return path
    print(f"quantising {path.name}", flush=True)
    recorded = exported_name(source, work, calibrated_at, "int8").with_suffix(".ranges.json")
    ranges = recorded if size != calibrated_at and recorded.is_file() else None
    try:
        # In a process of its own, because the memory of the calibration would stay with this one.
        call_in_child(None, quantize_onnx, onnx, path, images=images, ranges=ranges)
    except MismatchError as error:
        raise UserError(f"{source.checkpoint}: could not be quantised: {error}") from error
    return path
