"""Build a TensorRT engine that proves what it is: ``python -m engines.build model.onnx -o model.engine``."""

import shlex
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import tyro

from engines.trt.plan import BuildOptions, make_plan
from engines.trt.sidecar import sidecar_path
from engines.trt.trtexec import trtexec_command
from engines.trt.verified_build import build_verified
from refinemask.command import execute
from refinemask.spelling import Model, Old, Output
from trt_plugins import library_path

OLD = {name: Old(name, numbers=3) for name in ("--opt-shape", "--max-shape")}


@dataclass(frozen=True, kw_only=True)
class Args:
    """Build a TensorRT engine of an exported file, with a sidecar that says what it is made of."""

    onnx: Model
    """An exported file (.onnx)."""
    output: Output
    """The engine; its sidecar is OUTPUT.json, its layers OUTPUT.layers.json."""
    build: tyro.conf.OmitArgPrefixes[BuildOptions] = field(default_factory=BuildOptions)
    print_trtexec: Literal[10, 11] | None = None
    """Only print the command for trtexec of this major version."""


def main(args: Args | None = None) -> int:
    """Build; exit code 1 where the precision is not met, 2 where something given is wrong or TensorRT refuses."""
    return execute(Args, _print_trtexec_or_build, args, old=OLD)


def _print_trtexec_or_build(args: Args) -> None:
    if args.print_trtexec is not None:
        print(shlex.join(_trtexec_command(args, args.print_trtexec)))
        return
    sidecar = build_verified(make_plan(args.onnx, args.build), args.output)
    for part, shares in sidecar.precision.items():
        print(f"{part}: {', '.join(f'{share:.1%} {name}' for name, share in shares.items())}")
    print(f"{args.output}: built, {sidecar_path(args.output)} says of what")


def _trtexec_command(args: Args, major: int) -> list[str]:
    plan = make_plan(args.onnx, replace(args.build, trtexec="trtexec"))
    if plan.plugins is not None and args.build.plugins is None:
        try:
            library_path()
        except FileNotFoundError as error:
            # A command may be written down on a machine that cannot run it.
            print(f"remark: {error}", file=sys.stderr)
    return trtexec_command(plan, args.output, Path(f"{args.output}.layers.json"), major=major)


if __name__ == "__main__":
    raise SystemExit(main())
