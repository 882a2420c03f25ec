"""What an ONNX file says of itself, read before a runtime opens it, which takes memory for all of its weights."""

import mmap
import os

from refinemask.files import UserError
from refinemask.readable import require_readable
from refinemask.wire_format import fields

_PROPERTY, _KEY, _VALUE = 14, 1, 2
"""Fields of ONNX's messages (onnx.proto): ``metadata_props`` of a model, and those of its entries."""


def stated_property(path: str | os.PathLike[str], name: str) -> str | None:
    """The property ``name`` of an ONNX file's metadata, None if it has none; needs no reader of ONNX.

    Raises:
        UserError: the file is cut or damaged, or cannot be read.
    """
    require_readable(path)
    found = None
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            for number, start, end in fields(data, 0, len(data)):
                if number == _PROPERTY:
                    entry = {part: data[first:last] for part, first, last in fields(data, start, end)}
                    # The last one counts, as it does for runtimes.
                    found = entry.get(_VALUE, b"") if entry.get(_KEY) == name.encode() else found
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise UserError(f"{path}: not a readable ONNX file ({error}); export it again (export.to_onnx)") from error
    return None if found is None else found.decode(errors="replace")
