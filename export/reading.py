"""Reading an ONNX file as a graph to inspect and change. Imports no PyTorch."""

import os
from pathlib import Path

import onnx_ir as ir
from onnx_ir.external_data import set_base_dir

from refinemask.contract import read_onnx
from refinemask.foreign import foreign_errors


def read_model(path: str | os.PathLike[str]) -> ir.Model:
    """The graph of an ONNX file; weights that lie in files of their own are read when they are asked for.

    Raises:
        UserError: the file is missing or no ONNX file.
    """
    proto = read_onnx(path)
    # Its reader raises whatever Python does on a damaged graph.
    with foreign_errors(f"{path}: not a readable ONNX file", "export it again (export.to_onnx)"):
        model = ir.from_proto(proto)
        set_base_dir(model.graph, Path(path).absolute().parent)
    return model
