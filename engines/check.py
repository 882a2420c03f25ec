"""Check a TensorRT engine that was built without a check: ``python -m engines.check model.engine``."""

from dataclasses import dataclass
from pathlib import Path

from engines import check_engine
from engines.trt.corners import table
from engines.trt.sidecar import sidecar_path
from refinemask.command import execute
from refinemask.files import UserError
from refinemask.spelling import Model, OptionalPath


@dataclass(frozen=True, kw_only=True)
class Args:
    """Compare a TensorRT engine with ONNX Runtime and with itself at batch 1, and write that into its sidecar."""

    model: Model
    """An engine (.engine) of TensorRT, on a machine that can run it."""
    onnx: OptionalPath = None
    """The exported file that the engine was built from; by default, beside the engine, what the sidecar names."""
    images: OptionalPath = None
    """Directory with pictures for the comparison; by default the demo's."""
    trust_engine: bool = False
    """Load an engine without a sidecar, as of trtexec, which can run any code, and write its sidecar if it passes."""


def main(args: Args | None = None) -> int:
    """Check; exit code 1 where the engine does not agree, 2 where something given is wrong."""
    return execute(Args, _check, args)


def _check(args: Args) -> None:
    _require_engine(args.model)
    sidecar = check_engine(args.model, onnx=args.onnx, images=args.images, trust_engine=args.trust_engine)
    print(table(sidecar.corners))
    print(f"{args.model}: checked, {sidecar_path(args.model)} says how")


def _require_engine(model: Path) -> None:
    if model.suffix == ".pt2":
        raise UserError(
            f"{model}: a compiled package is compared with eager PyTorch when it is compiled; to compare it again, "
            f"compile it again: python -m engines.build CHECKPOINT -o {model}"
        )
    if model.suffix != ".engine":
        raise UserError(f"{model}: expected a TensorRT engine (.engine); python -m export.check reads .onnx files")


if __name__ == "__main__":
    raise SystemExit(main())
