"""Build an engine that proves what it is.

``python -m engines.build model.onnx -o model.engine`` builds with TensorRT, ``python -m engines.build model.safetensors
-o model.pt2`` compiles with PyTorch alone.
"""

import shlex
import sys
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Literal

import tyro

from engines import compile_engine
from engines.trt.corners import table
from engines.trt.plan import BuildOptions, make_plan
from engines.trt.sidecar import sidecar_path
from engines.trt.trtexec import trtexec_command
from engines.trt.verified_build import build_verified
from refinemask.command import execute
from refinemask.files import UserError, require_not_input
from refinemask.spelling import Model, Old, OptionalPath, Output, Size
from trt_plugins import library_path

OLD = {name: Old(name, numbers=3) for name in ("--opt-shape", "--max-shape")}


@dataclass(frozen=True, kw_only=True)
class CompileOptions:
    """How a checkpoint is compiled."""

    device: Literal["cuda", "cpu"] = "cuda"
    """Compile for this machine's GPU or its CPU."""
    canvases: tuple[Size, ...] = ()
    """Padded sizes to compile for; by default landscape and portrait as the model's preprocessing makes them."""
    batch: int = 1
    """Images that are computed together; fewer are filled up."""


@dataclass(frozen=True, kw_only=True)
class CheckOptions:
    """Whether and on what the result is compared with what it was made from."""

    images: OptionalPath = None
    """Directory with pictures for the comparison; by default the demo's."""
    check: bool = True
    """Compare with eager PyTorch, or TensorRT with ONNX Runtime, and write nothing unless enough detections agree."""


@dataclass(frozen=True, kw_only=True)
class Args:
    """Build a TensorRT engine of an exported file, or compile a checkpoint, with a sidecar that says what it is."""

    model: Model
    """An exported file (.onnx) for TensorRT, or a checkpoint (.safetensors) to compile."""
    output: Output
    """The engine (.engine or .pt2); its sidecar is OUTPUT.json, a TensorRT engine's layers OUTPUT.layers.json."""
    compile: tyro.conf.OmitArgPrefixes[CompileOptions] = field(default_factory=CompileOptions)
    build: tyro.conf.OmitArgPrefixes[BuildOptions] = field(default_factory=BuildOptions)
    comparison: tyro.conf.OmitArgPrefixes[CheckOptions] = field(default_factory=CheckOptions)
    print_trtexec: Literal[10, 11] | None = None
    """Only print the command for trtexec of this major version."""


def main(args: Args | None = None) -> int:
    """Build; exit code 1 where precision or detections are not as they should be, 2 if something given is wrong."""
    return execute(Args, _build, args, old=OLD)


def _build(args: Args) -> None:
    if args.model.suffix == ".safetensors":
        _compile(args)
        return
    if args.compile != CompileOptions():
        raise UserError(
            f"{args.model}: only a checkpoint (.safetensors), which is compiled, takes {_given(args.compile)}"
        )
    if args.print_trtexec is not None:
        print(shlex.join(_trtexec_command(args, args.print_trtexec)))
        return
    require_not_input(args.output, args.model)
    plan, comparison = make_plan(args.model, args.build), args.comparison
    sidecar = build_verified(plan, args.output, images=comparison.images, check=comparison.check)
    for judge, parts in (("", sidecar.precision), (" by TensorRT's inspector", sidecar.inspected or {})):
        for part, shares in parts.items():
            print(f"{part}{judge}: {', '.join(f'{share:.1%} {name}' for name, share in shares.items())}")
    print(table(sidecar.corners) if sidecar.corners else f"not checked: {sidecar.unchecked}")
    print(f"{args.output}: built, {sidecar_path(args.output)} says of what")


def _compile(args: Args) -> None:
    if args.build != BuildOptions(precision=args.build.precision) or args.print_trtexec is not None:
        found = _given(args.build) or "--print-trtexec"
        raise UserError(f"{args.model}: only an exported file (.onnx), which TensorRT builds, takes {found}")
    options = args.compile
    sidecar = compile_engine(
        args.model,
        args.output,
        device=options.device,
        precision=args.build.precision,
        canvases=options.canvases or None,
        batch=options.batch,
        images=args.comparison.images,
        check=args.comparison.check,
    )
    if sidecar.agreement is not None:
        agreeing, total = sidecar.agreement
        print(f"{agreeing} of {total} detections agree with eager PyTorch in fp32")
    print(f"{args.output}: compiled, {sidecar_path(args.output)} says of what")


def _given(options: BuildOptions | CompileOptions) -> str:
    """The options that are not at their defaults, as they are written."""
    names = [f.name for f in fields(options) if getattr(options, f.name) != f.default and f.name != "precision"]
    return ", ".join(f"--{name.replace('_', '-')}" for name in names)


def _trtexec_command(args: Args, major: int) -> list[str]:
    plan = make_plan(args.model, replace(args.build, trtexec="trtexec"))
    if plan.plugins is not None and args.build.plugins is None:
        try:
            library_path()
        except FileNotFoundError as error:
            # A command may be written down on a machine that cannot run it.
            print(f"remark: {error}", file=sys.stderr)
    return trtexec_command(plan, args.output, Path(f"{args.output}.layers.json"), major=major)


if __name__ == "__main__":
    raise SystemExit(main())
