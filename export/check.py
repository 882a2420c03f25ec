"""What would stop a TensorRT parser or builder, before there is one: ``python -m export.check model.onnx``."""

from dataclasses import dataclass

from export.reading import read_model
from export.tensorrt_rules import Target, check_model
from refinemask.command import execute
from refinemask.exit_codes import FAILED_CHECK
from refinemask.spelling import Model


@dataclass(frozen=True)
class Args:
    """List what would stop TensorRT from building an exported file."""

    model: Model
    """An exported file (.onnx)."""
    target: Target = "tensorrt-10"
    """The TensorRT that is to build the file."""


def main(args: Args | None = None) -> int:
    """Run the command line: exit code 1 when something stops the target, 2 when there is no such file."""
    return execute(Args, _check, args)


def _check(args: Args) -> int:
    model = read_model(args.model)
    findings = check_model(model, args.target)
    of_graph = [finding for finding in findings if finding.body is None]
    for finding in of_graph:
        print(finding)
    count = f"{len(of_graph) or 'no'} problem{'s' * (len(of_graph) != 1)}"
    print(f"{args.model}: {count} for {args.target} with the plugins")
    for name in dict.fromkeys(function.name for function in model.functions.values()):
        reasons = "; ".join(str(finding) for finding in findings if finding.body == name)
        print(f"  without its plugin, {name} {f'fails: {reasons}' if reasons else 'falls back to its body'}")
    return FAILED_CHECK if of_graph else 0


if __name__ == "__main__":
    raise SystemExit(main())
