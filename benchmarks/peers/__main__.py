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
from benchmarks.harness.load import ForeignLoad, peak_memory_bytes
from benchmarks.harness.measure import require_at_least
from benchmarks.harness.pipeline import read_input
from benchmarks.harness.provenance import provenance
from benchmarks.harness.report import Report, run_and_print
from benchmarks.harness.spec import EngineSpec, openvino_precisions
from benchmarks.harness.summary import paired_ratio, summarize
from benchmarks.peers import torchvision_detector
from engines.base import check_inputs
from refinemask.bundled import PHOTO
from refinemask.contract import InputError
from refinemask.data.transforms import NetworkInput
from refinemask.files import UserError

R50 = ("fcn", (3, 4, 6, 3))
"""Kind of the mask head and blocks of the backbone: the network that torchvision has."""
Run = Callable[[], int]
"""One image through a network; returns the number of detections."""


@dataclass(frozen=True, kw_only=True)
class Args:
    """Time torchvision's maskrcnn_resnet50_fpn and this project's Mask R-CNN in turns, each in a process of its own."""

    exported: tyro.conf.Positional[Path]
    """This project's Mask R-CNN (R50), exported for one size."""
    canvas: tuple[int, int] = (800, 1344)
    """That size: padded height and width."""
    image: Path = PHOTO
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
        UserError: the file, the image or a setting is wrong, or a contender cannot be opened.
    """
    require_at_least(1, threads=args.threads, rounds=args.rounds)
    require_at_least(0, warmup=args.warmup)
    batch = read_input(args.image, args.canvas)
    _check(args.exported, batch)
    with ExitStack() as stack:
        peer = Path(stack.enter_context(TemporaryDirectory())) / "torchvision.onnx"
        torchvision_detector.export(peer, batch.images)
        contenders = _contenders(args.exported, peer)
        # One process each, so that memory and threads are its own.
        workers = [stack.enter_context(ProcessPoolExecutor(1, get_context("spawn"))) for _ in contenders]
        pids = [
            worker.submit(_open, each, batch.images, batch.image_sizes, args.threads).result()
            for worker, each in zip(workers, contenders, strict=True)
        ]
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
                {**_figures(contender, pids[index], seconds[index], seconds[0]), "detections": detections[index]}
                for index, contender in enumerate(contenders)
            ],
        }


def _figures(contender: Contender, pid: int, seconds: list[float], baseline: list[float]) -> Report:
    return {
        "network": contender.network,
        "engine": f"{contender.spec.backend} {contender.spec.precision or 'fp32'}",
        "latency_ms": asdict(summarize([1e3 * each for each in seconds])),
        "speedup": asdict(paired_ratio(baseline, seconds)),
        "samples_ms": [round(1e3 * each, 2) for each in seconds],
        "peak_memory_mib": (peak_memory_bytes(pid) or 0) / 2**20,
    }


def _check(exported: Path, batch: NetworkInput) -> None:
    """Refuse a file that is no Mask R-CNN R50 in fp32, or does not take the batch."""
    if not exported.is_file():
        raise UserError(f"{exported}: no such file; export Mask R-CNN for one size (python -m export.to_onnx)")
    engine = engines.load(exported, backend="onnxruntime", precision="fp32")
    found = engine.config.mask_head.kind, engine.config.backbone.blocks
    if found != R50:
        raise UserError(
            f"{exported}: its mask head is '{found[0]}' and its backbone has the blocks {found[1]}; expected those of "
            f"Mask R-CNN R50, '{R50[0]}' and {R50[1]}: export one (benchmarks.random_weights, export.to_onnx)"
        )
    try:
        check_inputs(batch.images, batch.image_sizes, engine.bounds)
    except InputError as error:
        raise UserError(f"{exported}: {error}") from error


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


def _open(contender: Contender, images: np.ndarray, image_sizes: np.ndarray, threads: int) -> int:
    """Open it in this process, whose id it returns; not as an initialiser, whose errors do not reach the parent."""
    global _run
    if contender.network == "torchvision":
        _run = torchvision_detector.open_network(contender.spec, images, threads)
        return os.getpid()
    spec = contender.spec
    engine = engines.load(spec.path, backend=spec.backend, precision=spec.precision, threads=threads)
    inputs = engine.upload(images, image_sizes)

    def run() -> int:
        return int(engine.download(engine.run(inputs)).num_detections[0])

    _run = run
    return os.getpid()


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
