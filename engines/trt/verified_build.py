"""Build an engine, prove that it is what was asked for, and only then write it, with a sidecar that says what it is."""

import json
import shlex
from dataclasses import replace
from pathlib import Path

from engines.trt.child import build_in_child
from engines.trt.device import cuda_device
from engines.trt.plan import BuildPlan, Built
from engines.trt.precision import as_tf32, require_met
from engines.trt.sidecar import Sidecar, sidecar_path, write_sidecar
from engines.trt.trtexec import build_with_trtexec
from refinemask.files import UserError, atomic_write, require_not_input, sha256
from trt_plugins import library_path


def build_verified(plan: BuildPlan, output: Path) -> Sidecar:
    """Build an engine; write it, its layers and its sidecar. Nothing is written unless all went well.

    Raises:
        UserError: TensorRT or the plugin library is missing, TensorRT refuses, or an operator became no plugin layer.
        PrecisionNotMetError: too few layers of the network are in the precision of the file.
    """
    if output.suffix != ".engine":
        raise UserError(f"{output}: expected the name of a .engine file")
    layers = Path(f"{output}.layers.json")
    for written in (output, layers, sidecar_path(output)):
        require_not_input(written, plan.onnx, plan.plugins, plan.options.timing_cache)
    _require_library(plan)
    with atomic_write(output) as engine:
        built = build_with_trtexec(plan, engine) if plan.options.trtexec else build_in_child(plan, engine)
        if plan.tf32:
            inspected = built.inspected and as_tf32(built.inspected)
            built = replace(built, precision=as_tf32(built.precision), inspected=inspected)
        require_met(built.precision, plan.precision, plan.onnx)
        digest = sha256(engine)
    if built.layers:
        with atomic_write(layers) as temporary:
            temporary.write_text(json.dumps(built.layers, indent=1))
    sidecar = _describe(plan, output, built, digest)
    write_sidecar(sidecar, output)
    return sidecar


def _require_library(plan: BuildPlan) -> None:
    # A library that the caller named is checked when it is loaded.
    if plan.plugins is None or plan.options.plugins is not None:
        return
    try:
        library_path()
    except FileNotFoundError as error:
        raise UserError(f"{error}; or name one (--plugins), or build the operators' bodies (--bodies)") from error


def _describe(plan: BuildPlan, output: Path, built: Built, digest: str) -> Sidecar:
    options = plan.options
    device = None if options.capabilities else cuda_device()
    return Sidecar(
        engine_sha256=digest,
        onnx=plan.onnx.name,
        onnx_sha256=plan.onnx_sha256,
        plugins=plan.plugins.name if plan.plugins else None,
        plugins_sha256=sha256(plan.plugins) if plan.plugins else None,
        flavour=plan.flavour,
        version=built.version,
        cuda=device and device.cuda,
        driver=device and device.driver,
        gpu=device and device.name,
        capabilities=options.capabilities or ((device.capability,) if device else ()),
        newer_capabilities=options.hardware_compatible,
        newer_versions=options.version_compatible,
        metadata=replace(plan.metadata, precision=plan.precision, bounds=plan.bounds).to_properties(),
        tf32=plan.tf32,
        precision=built.precision,
        inspected=built.inspected,
        optimization_level=options.optimization_level,
        tiling_level=options.tiling_level,
        auxiliary_streams=options.auxiliary_streams,
        command=shlex.join(plan.command(output)),
    )
