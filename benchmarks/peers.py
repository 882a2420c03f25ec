"""Mask R-CNN here and in torchvision, on the same cores: ``python -m benchmarks.peers mask-rcnn.onnx``.

Both have 1000 proposals and 100 detections; from a normalised image (ours: uint8) to boxes, labels, scores and masks of
28×28.
"""

import os
import random
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import tyro
from rich.progress import track
from rich.table import Table

import engines
from benchmarks import torchvision_peer
from benchmarks.demo import DEMO
from benchmarks.load import ForeignLoad, peak_memory_bytes
from benchmarks.provenance import provenance
from benchmarks.report import Report, run_and_print
from benchmarks.spec import EngineSpec, openvino_precisions
from benchmarks.summary import paired_ratio, summarize
from refinemask.config import Preprocessing
from refinemask.data.images import read_image
from refinemask.data.transforms import preprocess
from refinemask.files import UserError

Run = Callable[[], int]
"""One image through a network; returns the number of detections."""


@dataclass(frozen=True, kw_only=True)
class Args:
    """Time torchvision's maskrcnn_resnet50_fpn and this project's Mask R-CNN in turns, each in a process of its own."""

    exported: tyro.conf.Positional[Path]
    """This project's Mask R-CNN (R50), exported for one size."""
    canvas: tuple[int, int] = (800, 1344)
    """That size: padded height and width."""
    image: Path = DEMO / "photos" / "images" / "000000126107.jpg"
    threads: int = 2
    rounds: int = 15
    warmup: int = 2
    output: Path | None = None
    """JSON file for the result."""


@dataclass(frozen=True)
class Contender:
    """A network and what runs it."""

    network: str
    spec: EngineSpec
    """torchvision's runs in PyTorch where the backend is ``pytorch``, and else from the ONNX file."""


def measure(args: Args) -> Report:
    """Run all contenders in turns.

    Raises:
        UserError: a file or the image is wrong.
    """
    if not args.exported.is_file():
        raise UserError(f"{args.exported}: no such file; export Mask R-CNN for one size (python -m export.to_onnx)")
    batch = preprocess([read_image(args.image)], Preprocessing(), args.canvas)
    with ExitStack() as stack:
        peer = Path(stack.enter_context(TemporaryDirectory())) / "torchvision.onnx"
        torchvision_peer.export(peer, batch.images)
        contenders = _contenders(args.exported, peer)
        # One process each, so that memory and threads are its own.
        workers = [
            stack.enter_context(
                ProcessPoolExecutor(
                    1, get_context("spawn"), _open, (each, batch.images, batch.image_sizes, args.threads)
                )
            )
            for each in contenders
        ]
        pids = [worker.submit(os.getpid).result() for worker in workers]
        load = ForeignLoad([os.getpid(), *pids])
        seconds, detections = _take_turns(workers, args)
        return {
            "provenance": provenance([args.exported]),
            "settings": {
                "canvas": args.canvas,
                "threads": args.threads,
                "rounds": args.rounds,
                "image": args.image.name,
            },
            "foreign_load": load.fraction(),
            "contenders": [
                {
                    "network": contender.network,
                    "engine": f"{contender.spec.backend} {contender.spec.precision or 'fp32'}",
                    "detections": detections[index],
                    "latency_ms": asdict(summarize([1e3 * each for each in seconds[index]])),
                    "speedup": asdict(paired_ratio(seconds[0], seconds[index])),
                    "peak_memory_mib": (peak_memory_bytes(pids[index]) or 0) / 2**20,
                    "samples_ms": [round(1e3 * each, 2) for each in seconds[index]],
                }
                for index, contender in enumerate(contenders)
            ],
        }


def _contenders(exported: Path, peer: Path) -> list[Contender]:
    found = [Contender("torchvision", EngineSpec(peer, "pytorch"))]
    for network, path in (("torchvision", peer), ("this project", exported)):
        found.append(Contender(network, EngineSpec(path, "onnxruntime")))
        found += [Contender(network, EngineSpec(path, "openvino", precision)) for precision in openvino_precisions()]
    return found


def _take_turns(workers: Sequence[ProcessPoolExecutor], args: Args) -> tuple[list[list[float]], list[int]]:
    shuffle = random.Random(0)
    seconds: list[list[float]] = [[] for _ in workers]
    detections = [0] * len(workers)
    for number in track(range(-args.warmup, args.rounds), "measuring", transient=True):
        for index in shuffle.sample(range(len(workers)), len(workers)):
            elapsed, detections[index] = workers[index].submit(_timed).result()
            if number >= 0:
                seconds[index].append(elapsed)
    return seconds, detections


_run: Run


def _open(contender: Contender, images: np.ndarray, image_sizes: np.ndarray, threads: int) -> None:
    global _run
    if contender.network == "torchvision":
        _run = torchvision_peer.open_network(contender.spec, images, threads)
        return
    spec = contender.spec
    engine = engines.load(spec.path, backend=spec.backend, precision=spec.precision, threads=threads)
    inputs = engine.upload(images, image_sizes)

    def run() -> int:
        return int(engine.download(engine.run(inputs)).num_detections[0])

    _run = run


def _timed() -> tuple[float, int]:
    start = time.perf_counter()
    detections = _run()
    return time.perf_counter() - start, detections


def table(report: Report) -> Table:
    """Contenders in the order in which they are listed; speed-ups are against torchvision in PyTorch."""
    table = Table(title="Mask R-CNN R50: medians, and ratios paired per round to torchvision in eager PyTorch")
    for heading in ("network", "engine"):
        table.add_column(heading)
    for heading in ("detections", "ms", "speed-up", "quartiles", "peak MiB"):
        table.add_column(heading, justify="right")
    for each in report["contenders"]:
        ratio = each["speedup"]
        table.add_row(
            each["network"],
            each["engine"],
            str(each["detections"]),
            f"{each['latency_ms']['p50']:.1f}",
            f"{ratio['p50']:.2f}×",
            f"{ratio['p25']:.2f} – {ratio['p75']:.2f}",
            f"{each['peak_memory_mib']:.0f}",
        )
    return table


def main(args: Args | None = None) -> int:
    """Measure, print the table, write the JSON; exit code 2 where something given is wrong."""
    args = args or tyro.cli(Args, description=__doc__)
    return run_and_print(lambda: measure(args), lambda report: [table(report)], args.output)


if __name__ == "__main__":
    raise SystemExit(main())
