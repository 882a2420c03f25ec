"""Write a folder for DeepStream: ``python -m engines.deepstream model.onnx --frame 1080x1920 -o folder``."""

from dataclasses import dataclass

from engines.deepstream.folder import LIBRARY, NETWORK, PARSER, write_folder
from refinemask.command import execute
from refinemask.extras import needed_by
from refinemask.files import UserError, require_not_input
from refinemask.spelling import Model, Output, Size

INCLUDES = "/opt/nvidia/deepstream/deepstream/sources/includes"


@dataclass(frozen=True, kw_only=True)
class Args:
    """Write nvinfer's configuration, the network as nvinfer can feed it, and the parser of its outputs."""

    model: Model
    """An exported file (.onnx) in fp32, exported with --masks all."""
    output: Output
    """Folder for the files."""
    frame: Size
    """Height and width of the frames, as nvstreammux gives them."""
    batch: int = 1
    """Frames that run together, one of each video."""
    score_threshold: float = 0.5
    """Lowest score of an object."""


def main(args: Args | None = None) -> int:
    """Write the folder; exit code 2 if something given is wrong."""
    return execute(Args, _write, args)


def _write(args: Args) -> None:
    if not 0 < args.score_threshold <= 1:
        raise UserError(f"--score-threshold {args.score_threshold}: expected a number above 0, at most 1")
    require_not_input(args.output / NETWORK, args.model)
    with needed_by(f"{args.model}: engines.deepstream", extra="tensorrt"):
        names = write_folder(args.model, args.output, args.frame, batch=args.batch, score=args.score_threshold)
    print(f"{args.output}: {', '.join(names)}")
    print("the parser is compiled where DeepStream is:")
    print(f"g++ -std=c++17 -O2 -shared -fPIC -I{INCLUDES} -I/usr/local/cuda/include {PARSER.name} -o {LIBRARY}")


if __name__ == "__main__":
    raise SystemExit(main())
