"""Build a TensorRT engine that proves what it is: ``python -m engines.build model.onnx -o model.engine``."""

import json
import shlex
import sys
from dataclasses import dataclass, fields, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

import tyro

from engines.trt.api import Flavour
from engines.trt.builder import Built, build_in_child, custom_nodes
from engines.trt.device import cuda_device
from engines.trt.plan import BuildPlan
from engines.trt.precision import REQUIRED_SHARE, met
from engines.trt.sidecar import Sidecar, sidecar_path, write_sidecar
from engines.trt.trtexec import build_with_trtexec, trtexec_command
from refinemask.contract import Bounds, Metadata
from refinemask.files import FailedCheckError, UserError, atomic_write, sha256
from trt_plugins import LIBRARY_DIR, PLUGIN_LIBRARY, library_path


class PrecisionNotMetError(FailedCheckError):
    """The engine computes in another precision than was asked for."""


@dataclass(frozen=True, kw_only=True)
class Args:
    """Build a TensorRT engine of an exported file, with a sidecar that says what it is made of."""

    onnx: tyro.conf.Positional[Path]
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """The engine; its sidecar is OUTPUT.json, its layers OUTPUT.layers.json."""
    precision: str | None = None
    """fp32, fp16, bf16, int8 or fp8 to insist on; the file decides, and the build is checked either way."""
    flavour: Flavour | None = None
    """The one that is installed, TensorRT first; with trtexec always tensorrt."""
    plugins: Path | None = None
    """The plugin library; by default the one that python -m trt_plugins.build makes."""
    bodies: bool = False
    """Build the operators' bodies of standard operators, without plugins."""
    opt_shape: tuple[int, int, int] | None = None
    """Batch, height and width to tune for."""
    max_shape: tuple[int, int, int] | None = None
    """Largest batch, height and width, where the file takes more than is needed."""
    capabilities: tuple[str, ...] = ()
    """Compute capabilities, such as 8.9, to build for without a GPU (TensorRT-RTX)."""
    version_compatible: bool = False
    """Run in newer TensorRT of the same major version too."""
    hardware_compatible: bool = False
    """Run on newer GPUs too, from Ampere on."""
    timing_cache: Path | None = None
    """File that makes the next build faster."""
    workspace: int | None = None
    """Scratch memory in MiB; none is the whole GPU."""
    trtexec: str | None = None
    """Build with this trtexec instead of the Python package."""
    print_trtexec: Literal[10, 11] | None = None
    """Only print the command for trtexec of this major version."""


def main(args: Args | None = None) -> int:
    """Build; exit code 1 where the precision is not met, 2 where something given is wrong or TensorRT refuses."""
    args = args or tyro.cli(Args)
    try:
        metadata = Metadata.of_file(args.onnx)
        plan = make_plan(args, metadata)
        if args.print_trtexec is not None:
            layers = Path(f"{args.output}.layers.json")
            print(shlex.join(trtexec_command(plan, args.output, layers, major=args.print_trtexec)))
            return 0
        sidecar = build(plan, args, metadata)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except PrecisionNotMetError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for part, shares in sidecar.precision.items():
        print(f"{part}: {', '.join(f'{share:.1%} {name}' for name, share in shares.items())}")
    print(f"{args.output}: built, {sidecar_path(args.output)} says of what")
    return 0


def make_plan(args: Args, metadata: Metadata) -> BuildPlan:
    """The plan that the arguments describe.

    Raises:
        UserError: they contradict each other or the file.
    """
    if args.precision not in (None, metadata.precision):
        raise UserError(
            f"{args.onnx}: its precision is {metadata.precision}, and TensorRT keeps the types of the file; "
            f"export with --precision {args.precision} instead"
        )
    if metadata.masks != "all":
        raise UserError(
            f"{args.onnx}: was exported with --masks {metadata.masks}, so shapes depend on the image: an engine would "
            "be tuned for one detection and could not run in a CUDA graph; export with --masks all"
        )
    if metadata.precision not in REQUIRED_SHARE:
        raise UserError(f"{args.onnx}: precision {metadata.precision}; expected {', '.join(REQUIRED_SHARE)}")
    return BuildPlan(
        onnx=args.onnx,
        plugins=_plugins(args),
        flavour=_flavour(args),
        bounds=_bounds(metadata.bounds, args),
        capabilities=args.capabilities,
        version_compatible=args.version_compatible,
        hardware_compatible=args.hardware_compatible,
        timing_cache=args.timing_cache,
        workspace_mib=args.workspace,
    )


def build(plan: BuildPlan, args: Args, metadata: Metadata) -> Sidecar:
    """Build the engine and write it, its layers and its sidecar; nothing is written unless all went well.

    Raises:
        UserError: TensorRT is missing or refuses.
        PrecisionNotMetError: see there.
    """
    with atomic_write(args.output) as engine:
        built = build_with_trtexec(plan, engine, args.trtexec) if args.trtexec else build_in_child(plan, engine)
        if plan.plugins is not None and built.plugin_layers < len(custom_nodes(plan.onnx)):
            raise UserError(f"{plan.onnx}: only {built.plugin_layers} operators became plugin layers; see --plugins")
        wanted = metadata.precision
        if not met(built.precision, wanted):
            raise PrecisionNotMetError(
                f"{plan.onnx}: {wanted} was asked for, but only {built.precision['compute'].get(wanted, 0):.0%} "
                f"of the compute layers are; expected {REQUIRED_SHARE[wanted]:.0%}; no engine was written"
            )
    if built.layers:
        with atomic_write(Path(f"{args.output}.layers.json")) as temporary:
            temporary.write_text(json.dumps(built.layers, indent=1))
    sidecar = _sidecar(plan, args, built, metadata)
    write_sidecar(sidecar, args.output)
    return sidecar


def _flavour(args: Args) -> Flavour:
    if args.trtexec is not None or args.print_trtexec is not None:
        if args.capabilities or args.flavour == "tensorrt_rtx":
            option = "--capabilities" if args.capabilities else "--flavour tensorrt_rtx"
            raise UserError(
                f"{args.onnx}: {option} is for TensorRT-RTX, and trtexec builds plain TensorRT for the GPU it runs on; "
                "leave it out, or build without --trtexec and --print-trtexec"
            )
        return "tensorrt"
    installed: Flavour = "tensorrt_rtx" if find_spec("tensorrt_rtx") and not find_spec("tensorrt") else "tensorrt"
    return args.flavour or installed


def _plugins(args: Args) -> Path | None:
    if args.bodies or args.plugins is not None or not custom_nodes(args.onnx):
        return args.plugins
    try:
        return library_path()
    except FileNotFoundError as error:
        if args.print_trtexec is None:
            raise UserError(f"{error}; or name one (--plugins), or build the operators' bodies (--bodies)") from error
        # A command may be written down on a machine that cannot run it.
        print(f"remark: {error}", file=sys.stderr)
        return LIBRARY_DIR / PLUGIN_LIBRARY


def _bounds(bounds: Bounds, args: Args) -> Bounds:
    axes = ("batch", "height", "width")
    limits = {axis: list(getattr(bounds, axis)) for axis in axes}
    for index, shape in ((2, args.max_shape), (1, args.opt_shape)):
        for axis, size in zip(axes, shape or (), strict=bool(shape)):
            smallest, _, largest = getattr(bounds, axis)
            if not smallest <= size <= largest:
                raise UserError(f"{axis} {size} is outside what {args.onnx} accepts, {smallest} to {largest}")
            limits[axis][index] = size
    return replace(bounds, **{axis: (low, min(typical, high), high) for axis, (low, typical, high) in limits.items()})


def _sidecar(plan: BuildPlan, args: Args, built: Built, metadata: Metadata) -> Sidecar:
    device = None if plan.capabilities else cuda_device()
    return Sidecar(
        engine_sha256=sha256(args.output),
        onnx=plan.onnx.name,
        onnx_sha256=sha256(plan.onnx),
        plugins=plan.plugins.name if plan.plugins else None,
        plugins_sha256=sha256(plan.plugins) if plan.plugins else None,
        flavour=plan.flavour,
        version=built.version,
        cuda=device and device.cuda,
        driver=device and device.driver,
        gpu=device and device.name,
        capabilities=plan.capabilities or ((device.capability,) if device else ()),
        newer_capabilities=plan.hardware_compatible,
        newer_versions=plan.version_compatible,
        metadata=replace(metadata, bounds=plan.bounds).to_properties(),
        precision=built.precision,
        command=shlex.join(_command(args)),
    )


def _command(args: Args) -> list[str]:
    """The command line of the arguments, files named without this machine's directories."""
    command = ["python", "-m", "engines.build", args.onnx.name, "-o", args.output.name]
    for field in fields(args):
        value = getattr(args, field.name)
        if field.name in ("onnx", "output") or value == field.default:
            continue
        command.append(f"--{field.name.replace('_', '-')}")
        if value is not True:
            command += map(str, value if isinstance(value, tuple) else (value,))
    return command


if __name__ == "__main__":
    raise SystemExit(main())
