"""Where an ONNX file's separate weights may lie: in its own folder. Checked before any library opens them.

The libraries differ in what they refuse, and with their versions. The file is walked as it lies on the disk, because
a machine with nothing but a runtime has no reader of its own for it. Weights are stepped over, so that large files
take no longer than small ones.
"""

import mmap
import os
from collections.abc import Iterator
from pathlib import Path

from refinemask.files import UserError
from refinemask.foreign import one_line
from refinemask.readable import require_readable
from refinemask.wire_format import Data, fields

_TENSOR, _TENSOR_DATA = "tensor", "data of a tensor"
_MESSAGES: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: _TENSOR, 15: "sparse tensor"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {
        5: _TENSOR, 6: "graph", 10: _TENSOR, 11: "graph", 22: "sparse tensor", 23: "sparse tensor",
    },
    "sparse tensor": {1: _TENSOR, 2: _TENSOR},
    _TENSOR: {13: _TENSOR_DATA},
}  # fmt: skip
"""Fields of ONNX's messages (onnx.proto) by number, each with the kind of message that it holds."""
_KEY, _VALUE = 1, 2
"""Fields of an entry of a tensor's ``external_data``."""
DEEPEST = 100
"""Depth of messages within messages at which protocol buffers stop reading."""


def require_data_inside(path: str | os.PathLike[str]) -> None:
    """Refuse an ONNX file that names data outside its folder, or data that are not there.

    Absolute paths, ``..``, symbolic links out of the folder and addresses in memory are outside.

    Raises:
        UserError: so it is, or the file is cut or damaged, or cannot be read.
    """
    data_files(path)


def data_files(path: str | os.PathLike[str]) -> list[Path]:
    """The files in which an ONNX file keeps weights, all in its folder.

    Raises:
        UserError: see :func:`require_data_inside`.
    """
    require_readable(path)
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            locations = dict.fromkeys(_locations(data, 0, len(data), "model", 0))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise UserError(f"{path}: not a readable ONNX file ({error}); export it again (export.to_onnx)") from error
    for location in locations:
        _require_inside(path, location)
    return [Path(path).parent / os.fsdecode(location) for location in locations]


def _require_inside(path: str | os.PathLike[str], location: bytes) -> None:
    folder, name = os.path.realpath(Path(path).parent), os.fsdecode(location)
    shown = repr(one_line(name))
    # ONNX Runtime takes this name for an address in its own memory.
    if not name or "\0" in name or "_ORT_MEM_ADDR_" in name or os.path.isabs(name) or "\\" in name:
        raise UserError(f"{path}: keeps data in {shown}, expected the name of a file in its own folder")
    target = os.path.realpath(os.path.join(folder, name))
    if ".." in Path(name).parts or os.path.commonpath([folder, target]) != folder:
        raise UserError(f"{path}: keeps data in {shown}, which is outside its folder; put both into one folder")
    if not os.path.isfile(target):
        raise UserError(f"{path}: its data file {shown} is missing; put it beside the file, or export it again")


def _locations(data: Data, start: int, end: int, kind: str, depth: int) -> Iterator[bytes]:
    """The names of data files in a message of a kind, which lies from ``start`` to ``end``."""
    if depth > DEEPEST:
        raise ValueError("its messages are nested too deeply")
    if kind == _TENSOR_DATA:
        entry = {number: data[first:last] for number, first, last in fields(data, start, end)}
        if entry.get(_KEY) == b"location":
            yield entry.get(_VALUE, b"")
        return
    inner = _MESSAGES[kind]
    for number, first, last in fields(data, start, end):
        if number in inner:
            yield from _locations(data, first, last, inner[number], depth + 1)
