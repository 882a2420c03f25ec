"""Reading an ONNX file as a graph to inspect and change. Imports no PyTorch."""

import os
from pathlib import Path

import onnx_ir as ir
from onnx_ir.external_data import set_base_dir
from onnx_ir.serde import SerdeError

from refinemask.contract import read_onnx
from refinemask.files import UserError


def read_model(path: str | os.PathLike[str]) -> ir.Model:
    """The graph of an ONNX file; weights that lie in files of their own are read when they are asked for.

    Raises:
        UserError: the file is missing or no ONNX file.
    """
    proto = read_onnx(path)
    try:
        model = ir.from_proto(proto)
    except SerdeError as error:
        raise UserError(f"{path}: not a readable ONNX file ({error}); export it again (export.to_onnx)") from error
    set_base_dir(model.graph, Path(path).absolute().parent)
    return model
