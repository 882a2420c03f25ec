"""Write a model repository for Triton: ``python -m engines.triton MODEL --output REPOSITORY``."""

import shlex
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from engines.triton.deployment import Deployment
from engines.triton.interface import Response
from engines.triton.repository import Network, Repository, write_repository
from refinemask.command import execute
from refinemask.options import require_at_least
from refinemask.spelling import Model, OptionalName, OptionalNumber, OptionalWindow, Output
from refinemask.window import spelled


@dataclass(frozen=True, kw_only=True)
class Serving:
    """How the server opens the model."""

    backend: OptionalName = None
    """The engine that runs the file, such as openvino for .onnx; if not given, by the file's ending."""
    device: str = "cpu"
    """cpu or cuda, and for a checkpoint one of several GPUs, such as cuda:1."""
    precision: OptionalName = None
    """The file's own if not given; the server refuses to start in any other."""
    threads: OptionalNumber = None
    """CPU threads of each instance; if not given, the engine chooses."""
    detections: OptionalNumber = None
    """Largest number of detections per image; if not given, the file's."""
    score_threshold: float | None = None
    """Score above which a detection counts, 0 to 1; if not given, the file's. Requests may ask for a higher one."""
    batch_size: OptionalNumber = None
    """Images that go through the network together; if not given, what the engine prefers."""
    response: Response = "rle"
    """How masks are answered where a request does not say: run lengths, polygons, or PNG files."""
    window: OptionalWindow = None
    """How images of more than 8 bits become images of 8: the values that become 0 and 255, or percentiles of each
    image's values; if not given, the model's."""


@dataclass(frozen=True, kw_only=True)
class Args:
    """Write a model repository for the Triton Inference Server: a model that takes image files or pixels and answers
    boxes, classes and masks, and optionally the bare network."""

    model: Model
    """A checkpoint (.safetensors) or an exported file of any engine (.pt2, .onnx, .engine)."""
    output: Output
    """The repository; other models in it stay."""
    name: OptionalName = None
    """Name of the model; if not given, the file's without its ending."""
    network: Annotated[Network | None, tyro.conf.arg(metavar="native|python")] = None
    """Write the bare network as the model NAME_network, too: for Triton's own ONNX Runtime or TensorRT, or for this
    project's engine in Triton's Python backend."""
    serving: tyro.conf.OmitArgPrefixes[Serving] = field(default_factory=Serving)
    deployment: tyro.conf.OmitArgPrefixes[Deployment] = field(default_factory=Deployment)


def main(args: Args | None = None) -> int:
    """Write the repository; exit code 2 if something given is wrong."""
    return execute(Args, _write, args)


def _write(args: Args) -> None:
    serving = args.serving
    require_at_least(1, threads=serving.threads, batch_size=serving.batch_size, detections=serving.detections)
    given = {name: value for name, value in asdict(serving).items() if value is not None}
    if serving.window is not None:
        given["window"] = spelled(serving.window)
    written = write_repository(args.model, args.output, given, args.deployment, name=args.name, network=args.network)
    models = written.front if written.network is None else f"{written.front} and {written.network}"
    settings = written.settings
    if not written.opened:
        print(f"not opened here: the server is the first to run it on {settings.device}")
    command = _command(args.output, written)
    print(f"{args.output}: {models} written ({settings.backend} {settings.precision}); serve it: {command}")


def _command(output: Path, written: Repository) -> str:
    words = ["tritonserver", "--model-repository", str(output)]
    if written.plugins is not None:
        words.append(f"--backend-config=tensorrt,plugins={written.plugins}")
    return shlex.join(words)


if __name__ == "__main__":
    raise SystemExit(main())
