"""The precision that a file has, against the one that was asked for."""

import os

from refinemask.files import UserError

EXPORTED = "fp32", "fp16", "bf16"
QUANTISED = "int8", "fp8"


def require_file_precision(path: str | os.PathLike[str], found: str, wanted: str | None, reason: str) -> None:
    """Raise a UserError unless a file has the precision that was asked for.

    Args:
        path: the file.
        found: its precision.
        wanted: the precision that was asked for; None is the file's own. ``tf32`` is a way to multiply fp32.
        reason: why only the file's own will do, as half a sentence.
    """
    wanted = "fp32" if wanted == "tf32" else wanted
    if wanted is not None and wanted != found:
        raise UserError(f"{path}: its precision is {found}, and {reason}; {_remedy(wanted)}")


def _remedy(wanted: str) -> str:
    if wanted in EXPORTED:
        return f"for {wanted} export with --precision {wanted} (python -m export.to_onnx)"
    if wanted in QUANTISED:
        return f"for {wanted} quantise the fp32 or fp16 export (python -m export.quantize --precision {wanted})"
    if wanted.startswith("int8+"):
        return f"{wanted} is what OpenVINO makes of an int8 file: --backend openvino"
    possible = ", ".join((*EXPORTED, *QUANTISED))
    return f"{wanted} is no precision of a file; expected {possible}, or none for the file's own"
