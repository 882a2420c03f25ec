"""Build an engine, prove what it is and that it computes what its file does, and only then write it."""

import json
import shlex
from dataclasses import replace
from pathlib import Path

from engines.trt.api import import_tensorrt, short_version
from engines.trt.check import require_checkable
from engines.trt.child import build_in_child
from engines.trt.corners import Corner
from engines.trt.device import cuda_device
from engines.trt.plan import BuildPlan, Built
from engines.trt.precision import as_tf32, require_met
from engines.trt.sidecar import Sidecar, sidecar_path, write_sidecar
from engines.trt.trtexec import build_with_trtexec, trtexec_version
from engines.trt.verified_check import check_file
from refinemask.bundled import DEMO
from refinemask.files import FailedCheckError, UserError, atomic_write, require_not_input, sha256
from trt_plugins import library_path, require_as_built


def build_verified(plan: BuildPlan, output: Path, *, images: Path | None = None, check: bool = True) -> Sidecar:
    """Build an engine and check it; write it, its layers and its sidecar. Nothing is written unless all went well.

    Args:
        plan: what to build.
        output: the engine file to write.
        images: directory with pictures for the check; None is the bundled ones.
        check: whether to run the engine, on a machine with a GPU, and compare its detections; the sidecar tells.

    Raises:
        UserError: TensorRT or the plugin library is missing, TensorRT refuses, or an operator became no plugin layer.
        PrecisionNotMetError: too few layers of the network are in the precision of the file.
        FailedCheckError: the engine does not agree with ONNX Runtime or with itself at a corner of its profile.
    """
    if output.suffix != ".engine":
        raise UserError(f"{output}: expected the name of a .engine file")
    layers = Path(f"{output}.layers.json")
    for written in (output, layers, sidecar_path(output)):
        require_not_input(written, plan.onnx, plan.plugins, plan.options.timing_cache)
    _require_library(plan)
    unchecked = _why_unchecked(plan, check)
    if unchecked is None:
        # Before minutes of building.
        require_checkable(plan.onnx, images or DEMO, otherwise="leave it out with --no-check")
        _require_loadable(plan)
    with atomic_write(output) as engine:
        built = build_with_trtexec(plan, engine) if plan.options.trtexec else build_in_child(plan, engine)
        if plan.tf32:
            inspected = built.inspected and as_tf32(built.inspected)
            built = replace(built, precision=as_tf32(built.precision), inspected=inspected)
        require_met(built.precision, plan.precision, plan.onnx)
        sidecar = replace(_describe(plan, output, built, sha256(engine)), unchecked=unchecked)
        if unchecked is None:
            sidecar = replace(sidecar, corners=_checked(sidecar, engine, output, plan.onnx, images or DEMO))
    if built.layers:
        with atomic_write(layers) as temporary:
            temporary.write_text(json.dumps(built.layers, indent=1))
    write_sidecar(sidecar, output)
    return sidecar


def _why_unchecked(plan: BuildPlan, check: bool) -> str | None:
    """Why the engine cannot or need not be checked here; None if it is to be."""
    if not check:
        return "built with --no-check"
    if plan.options.capabilities:
        return "built ahead of time, for GPUs of other machines"
    return "built on a machine without a GPU" if cuda_device() is None else None


def _checked(sidecar: Sidecar, engine: Path, output: Path, onnx: Path, images: Path) -> tuple[Corner, ...]:
    """What the check of an engine that has not got its name yet finds; raises a FailedCheckError if it fails."""
    try:
        return check_file(sidecar, engine, name=output, onnx=onnx, images=images)
    except FailedCheckError as error:
        raise FailedCheckError(
            f"{output}: not written, {error}; build with another version of TensorRT, or with --no-check if you accept "
            "the difference"
        ) from error


def _require_library(plan: BuildPlan) -> None:
    if plan.plugins is None:
        return
    # A library that the caller named is looked for when it is loaded.
    if plan.options.plugins is None:
        try:
            library_path()
        except FileNotFoundError as error:
            raise UserError(f"{error}; or name one (--plugins), or build the operators' bodies (--bodies)") from error
    require_as_built(plan.plugins)


def _require_loadable(plan: BuildPlan) -> None:
    """Raise a UserError if an engine of this plan could not be loaded here for its check."""
    otherwise = "or leave the check out with --no-check"
    if plan.options.trtexec:
        builds = trtexec_version(plan.options.trtexec)
        try:
            loads = short_version(import_tensorrt(plan.flavour).__version__)
        except UserError as error:
            raise UserError(f"{plan.onnx}: the check of its engine: {error}, {otherwise}") from error
        if builds != loads and not plan.options.version_compatible:
            raise UserError(
                f"{plan.onnx}: {plan.options.trtexec} is of TensorRT {builds}, and the Python package that checks its "
                f"engine is {loads}; install the same version, {otherwise}"
            )
    if plan.options.plugins is not None and plan.options.plugins.is_file():
        try:
            here = library_path()
        except FileNotFoundError as error:
            raise UserError(f"{error}: engines load this one; build it, {otherwise}") from error
        if sha256(here) != sha256(plan.options.plugins):
            raise UserError(
                f"{plan.options.plugins}: engines load {here}, another library; copy this one there, {otherwise}"
            )


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
