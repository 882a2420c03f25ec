"""Mask R-CNN here and in torchvision, in turns on the same image."""

import os
import random
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.progress import track

import engines
from benchmarks.harness.load import ForeignLoad, peak_memory_bytes
from benchmarks.harness.pipeline import read_input
from benchmarks.harness.provenance import provenance
from benchmarks.harness.spec import EngineSpec, openvino_precisions
from benchmarks.harness.summary import paired_ratio, percentiles
from benchmarks.peers import torchvision_detector
from benchmarks.peers.contender import OURS, TORCHVISION, Contender, open_contender, run_contender
from benchmarks.peers.report import Conditions, ContenderReport, TorchvisionReport
from engines.base import check_inputs
from refinemask.bundled import PHOTO
from refinemask.contract import InputError
from refinemask.data.transforms import NetworkInput
from refinemask.files import UserError
from refinemask.options import require_at_least
from refinemask.orphans import end_with_parent
from refinemask.spelling import Model, Size

R50 = ("fcn", (3, 4, 6, 3))
"""Kind of the mask head and blocks of the backbone of the network that torchvision has."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How to measure."""

    exported: Model
    """This project's Mask R-CNN (R50), exported for one size."""
    size: Size = (800, 1344)
    """Padded height and width that the file was exported for."""
    image: Path = PHOTO
    """Photograph that every contender runs on."""
    threads: int = 2
    """CPU threads of every contender."""
    rounds: int = 15
    """Runs of every contender."""
    warmup: int = 2
    """Rounds before those that count."""

    def __post_init__(self) -> None:
        require_at_least(1, threads=self.threads, rounds=self.rounds)
        require_at_least(0, warmup=self.warmup)


def measure_beside_torchvision(plan: Plan) -> TorchvisionReport:
    """Run all contenders in turns.

    Raises:
        UserError: the file or the image is wrong, or a contender cannot be opened.
    """
    batch = read_input(plan.image, plan.size)
    _check(plan.exported, batch)
    with ExitStack() as stack:
        theirs = Path(stack.enter_context(TemporaryDirectory())) / "torchvision.onnx"
        torchvision_detector.export(theirs, batch.images)
        contenders = list_contenders(plan.exported, theirs)
        # A process for each contender, so that memory and threads are its own.
        workers = [
            stack.enter_context(
                ProcessPoolExecutor(1, get_context("spawn"), initializer=end_with_parent, initargs=(os.getpid(),))
            )
            for _ in contenders
        ]
        pids = [
            worker.submit(open_contender, each, batch.images, batch.image_sizes, plan.threads).result()
            for worker, each in zip(workers, contenders, strict=True)
        ]
        load = ForeignLoad([os.getpid(), *pids])
        seconds, detections = _take_turns(workers, plan)
        return TorchvisionReport(
            provenance=provenance([plan.exported]),
            settings=Conditions(canvas=plan.size, threads=plan.threads, rounds=plan.rounds, image=plan.image.name),
            foreign_load=load.fraction(),
            contenders=tuple(
                _report(contender, pids[index], detections[index], seconds[index], baseline=seconds[0])
                for index, contender in enumerate(contenders)
            ),
        )


def _report(
    contender: Contender, pid: int, detections: int, seconds: Sequence[float], baseline: Sequence[float]
) -> ContenderReport:
    return ContenderReport(
        network=contender.network,
        engine=f"{contender.spec.backend} {contender.spec.precision or 'fp32'}",
        detections=detections,
        latency_ms=percentiles([1e3 * each for each in seconds]),
        speedup=paired_ratio(baseline, seconds),
        peak_memory_mib=(peak_memory_bytes(pid) or 0) / 2**20,
        samples_ms=tuple(round(1e3 * each, 2) for each in seconds),
    )


def list_contenders(exported: Path, theirs: Path) -> list[Contender]:
    """torchvision's network in PyTorch first; then both exported files in each runtime of this machine."""
    contenders = [Contender(TORCHVISION, EngineSpec(theirs, "pytorch"))]
    for network, path in ((TORCHVISION, theirs), (OURS, exported)):
        contenders.append(Contender(network, EngineSpec(path, "onnxruntime")))
        contenders += [Contender(network, EngineSpec(path, "openvino", each)) for each in openvino_precisions()]
    return contenders


def _check(exported: Path, batch: NetworkInput) -> None:
    """Refuse a file that is no Mask R-CNN R50 in fp32, or does not take the batch."""
    if not exported.is_file():
        raise UserError(f"{exported}: no such file; export Mask R-CNN for one size (python -m export.to_onnx)")
    engine = engines.load(exported, backend="onnxruntime", precision="fp32")
    kind, blocks = engine.config.mask_head.kind, engine.config.backbone.blocks
    if (kind, blocks) != R50:
        raise UserError(
            f"{exported}: its mask head is '{kind}' and its backbone has the blocks {blocks}; expected those of "
            f"Mask R-CNN R50, '{R50[0]}' and {R50[1]}: export one (benchmarks.random_weights, export.to_onnx)"
        )
    try:
        check_inputs(batch.images, batch.image_sizes, engine.bounds)
    except InputError as error:
        raise UserError(f"{exported}: {error}") from error


def _take_turns(workers: Sequence[ProcessPoolExecutor], plan: Plan) -> tuple[list[list[float]], list[int]]:
    shuffle = random.Random(0)
    seconds: list[list[float]] = [[] for _ in workers]
    detections = [0] * len(workers)
    for number in track(range(-plan.warmup, plan.rounds), "measuring", transient=True):
        for index in shuffle.sample(range(len(workers)), len(workers)):
            elapsed, detections[index] = workers[index].submit(run_contender).result()
            if number >= 0:
                seconds[index].append(elapsed)
    return seconds, detections
