"""An int8 file of an exported one, without a calibration."""

from pathlib import Path

import onnx_ir as ir

from export.qdq import insert_qdq, kept_layers, layers

RANGE = 24.0
"""Largest magnitude that is kept of every input; with half of it the tiny detector misses what it finds in fp32."""


def write_int8(exported: Path, output: Path) -> Path:
    """Quantise all layers that are quantised in a real file; returns ``output``."""
    model = ir.load(exported)
    kept = kept_layers(model.graph)
    insert_qdq(model.graph, {name: RANGE for name in layers(model.graph) if name not in kept}, "int8")
    model.metadata_props["precision"] = "int8"
    ir.save(model, output)
    return output
