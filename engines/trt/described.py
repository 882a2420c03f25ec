"""What an engine without a sidecar tells of itself, once it is trusted and loaded."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines.trt.api import short_version
from engines.trt.precision import Shares, as_tf32, inspected_layers, inspector_shares
from engines.trt.runtime import open_engine
from refinemask.contract import INPUTS, Bounds
from refinemask.files import UserError
from refinemask.json_files import parse_json


@dataclass(frozen=True)
class Described:
    """An engine's account of itself."""

    version: str
    """TensorRT's version, such as ``10.13.0``."""
    type: str
    """Precision of the file that it was built from, tf32 for one of fp32."""
    bounds: Bounds
    """Limits of its optimisation profile."""
    precision: Shares
    """Shares of the types in which it computes; empty unless it was built with detailed verbosity."""
    plugins: str | None
    """The plugin library that was loaded for it."""


def describe_engine(path: Path, onnx: Path) -> Described:
    """Load an engine without a sidecar.

    Raises:
        UserError: it cannot be loaded here, or its profile is none of this project's.
    """
    opened = open_engine(path, trust=True, onnx=onnx)
    precision = opened.metadata.precision
    shares = _shares(opened.trt, opened.engine)
    return Described(
        version=short_version(opened.trt.__version__),
        type=precision,
        bounds=_bounds(opened.engine, path),
        precision=as_tf32(shares) if precision == "tf32" else shares,
        plugins=str(opened.plugins) if opened.plugins else None,
    )


def _shares(trt: Any, engine: Any) -> Shares:
    text = engine.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.JSON)
    try:
        return inspector_shares(inspected_layers(parse_json(text)))
    except ValueError:
        # Names alone.
        return {}


def _bounds(engine: Any, path: Path) -> Bounds:
    """The limits of the first profile; a static engine has one shape."""
    shape = tuple(engine.get_tensor_shape(INPUTS[0]))
    shapes = engine.get_tensor_profile_shape(INPUTS[0], 0) if -1 in shape else [shape] * 3
    batch, _, height, width = zip(*map(tuple, shapes), strict=True)
    try:
        return Bounds(batch=batch, height=height, width=width)
    except UserError as error:
        raise UserError(f"{path}: its profile is not one of this project: {error}") from error
