"""The int8 files that are measured: calibrated on the images and quantised, unless the work directory has them."""

from pathlib import Path

from benchmarks.efficiency.files import Source, exported, exported_name, was_made_of
from benchmarks.harness.child import call_in_child
from export import MismatchError, quantize_onnx
from export.calibration.images import choose_images
from export.calibration.ranges import METHOD, calibrate, read_calibration, write_calibration
from export.quantization import write_quantized
from refinemask.contract import Metadata
from refinemask.files import UserError

CALIBRATED_ON = 64
"""Images to calibrate random weights on, at most."""


def quantised(
    source: Source, work: Path, images: Path, size: tuple[int, int] | None, calibrated_at: tuple[int, int]
) -> Path:
    """The model's int8 file for batch 1, unless ``work`` has it of this checkpoint and version.

    It is compared with the fp32 file, unless the weights are random: then few detections are the same, and there is
    no accuracy to keep.

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
    recorded = exported_name(source, work, calibrated_at, "int8").with_suffix(".ranges.json")
    ranges = recorded if size != calibrated_at and recorded.is_file() else None
    # In a process of its own, because the memory of the calibration would stay with this one.
    if source.random:
        print(f"quantising {path.name}, compared with nothing, because its weights are random", flush=True)
        call_in_child(None, _write_uncompared, onnx, path, images, ranges)
        return path
    print(f"quantising {path.name}", flush=True)
    try:
        call_in_child(None, quantize_onnx, onnx, path, images=images, ranges=ranges)
    except MismatchError as error:
        raise UserError(f"{source.checkpoint}: could not be quantised: {error}") from error
    return path


def _write_uncompared(onnx: Path, output: Path, images: Path, ranges: Path | None) -> None:
    """Quantise a file by these ranges, or by new ones that are written beside the output."""
    if ranges is not None:
        calibration = read_calibration(ranges)
    else:
        choice = choose_images(images, None, CALIBRATED_ON, Metadata.of_file(onnx).config.preprocessing.window)
        progress = output.with_suffix(".ranges.partial")
        calibration = calibrate(onnx, onnx, choice, METHOD, progress)
        write_calibration(calibration, output.with_suffix(".ranges.json"))
        progress.unlink()
    write_quantized(onnx, output, calibration, "int8")
