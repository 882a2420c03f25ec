"""Names of the precisions that OpenVINO computes in, and which file each needs."""

import os

from refinemask.files import UserError
from refinemask.foreign import one_line

PRECISIONS = {"fp32": "f32", "bf16": "bf16", "int8": "f32", "int8+fp32": "f32", "int8+bf16": "bf16"}
"""OpenVINO's name of what is computed in floating point, by our name of the precision.

What an int8 file rounds to 8 bits is computed in 8 bits, and the rest in the type behind the plus sign, or in the
file's own where there is none.
"""
OF_FILE = {"fp32": ("fp32", "bf16"), "int8": ("int8", "int8+fp32", "int8+bf16")}
"""Precisions of each kind of file; the first is the default."""
OTHER_FILES = {
    "fp16": "export it without --precision: OpenVINO takes the fp32 file and makes the type itself",
    "bf16": "export it without --precision: OpenVINO takes the fp32 file and makes the type itself",
    "fp8": "TensorRT runs it: python -m engines.build",
}
"""What to do about a file of another precision."""


def choose_precision(asked: str | None, of_file: str, path: str | os.PathLike[str]) -> str:
    """The precision to compute a file in.

    Args:
        asked: what was asked for; None is the file's own.
        of_file: precision of the file.
        path: the file, for messages.

    Raises:
        UserError: OpenVINO cannot run such a file, or not in this precision.
    """
    if of_file not in OF_FILE:
        remedy = OTHER_FILES.get(of_file, "export it again (export.to_onnx)")
        raise UserError(f"{path}: OpenVINO runs fp32 and int8 files; this one is {of_file}; {remedy}")
    possible = OF_FILE[of_file]
    if asked is None or asked in possible:
        return asked or possible[0]
    line = f"{path}: OpenVINO runs a file of {of_file} in {' or '.join(possible)}, not in {one_line(asked)}"
    if asked in OF_FILE["int8"]:
        raise UserError(f"{line}; make an int8 file of it first: python -m export.quantize {path} -o INT8.onnx")
    raise UserError(f"{line}; leave --precision out, or run the fp32 file in {asked}" if asked in PRECISIONS else line)
