"""Whole networks on the device: every way to run them, in turns."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.gpu_suite.agreement import Agreement, agreement
from benchmarks.gpu_suite.ceilings import CeilingsReport
from benchmarks.gpu_suite.contenders import Contender, Entry, Race, races
from benchmarks.gpu_suite.context import Context, NotRunError
from benchmarks.gpu_suite.engine_files import begin_compiled, begin_onnx
from benchmarks.gpu_suite.exported_graph import on_device, warm_compiler_cache
from benchmarks.gpu_suite.memory import free_memory, open_measured
from benchmarks.gpu_suite.opened import Opened
from benchmarks.gpu_suite.rounds import Spread, take_turns
from benchmarks.gpu_suite.subjects import Crowd, Family, Subject, subject
from refinemask.files import FailedCheckError
from refinemask.modeling.exported import ExportedDetector
from refinemask.structures import Detections
from refinemask.weights import load_detector

REFERENCE = "eager fp32"
"""Contender whose detections the others' are compared with."""
ROUNDS, TINY_ROUNDS = 40, 2
LEAST_MATCHED = 0.9
"""Share of the reference's detections that a contender must find: below it computes something else, and its time says
nothing. Half precision finds 0.96 to 0.98 of those of random weights."""
RESERVED_SECONDS = 30
"""Seconds that every race but the first leaves to the parts that follow."""


@dataclass(frozen=True, kw_only=True)
class NetworkTime:
    """One contender on one batch."""

    network: Family
    contender: str
    """Way to run the network, and its precision, such as ``eager fp32``."""
    batch: int
    crowd: Crowd
    """Number of detections of each image: as many as there can be, or about a tenth of that."""
    detections: float
    """Mean number of detections that it found in an image."""
    device_ms: Spread
    """Milliseconds of a batch between two events on the device."""
    wall_ms: Spread
    """Wall-clock milliseconds of a batch, until the device is done."""
    enqueue_ms: Spread | None
    """Milliseconds until the call returns; None for a contender that waits for the device before."""
    memory_bytes: int | None
    """Memory of the device for weights, inputs, outputs and all between them; None on a CPU. What is allocated beside
    PyTorch is the growth of the device's used memory while it is opened a second time.
    """
    agreement: Agreement | None
    """Detections beside those of eager fp32 in the same batch; None if that did not run."""


@dataclass(frozen=True, kw_only=True)
class NetworkReport:
    """All contenders."""

    times: tuple[NetworkTime, ...]
    operations: dict[Family, int]
    """Floating-point operations for one image with all detections, a multiplication and an addition being two."""
    fp16_rate: float | None
    """Operations per second of a square float16 product on this device; None if they were not measured."""

    def find(
        self, contender: str, *, network: Family = "refinemask", batch: int = 1, crowd: Crowd = "many"
    ) -> NetworkTime | None:
        """What was measured of a contender; None if it was not."""
        key = (contender, network, batch, crowd)
        return next((t for t in self.times if (t.contender, t.network, t.batch, t.crowd) == key), None)

    def strangers(self) -> list[NetworkTime]:
        """Contenders that find other detections than the reference."""
        return [time for time in self.times if time.agreement and time.agreement.matched < LEAST_MATCHED]

    def product_share(self, time: NetworkTime) -> float | None:
        """Share of the card's fp16 product rate that a contender reaches; None if it is unknown."""
        if self.fp16_rate is None or time.network not in self.operations or time.crowd != "many":
            return None
        done = self.operations[time.network] * time.batch
        return done / (time.device_ms.median / 1e3) / self.fp16_rate

    @property
    def headline(self) -> str:
        """The key figures in one line."""
        first = [t for t in self.times if (t.network, t.batch, t.crowd) == ("refinemask", 1, "many")]
        figures = ", ".join(f"{t.contender} {t.device_ms.median:.2f}" for t in first)
        return f"{len(self.times)} measurements; milliseconds of one image: {figures or 'none'}"


def prepare_network(context: Context) -> None:
    """Begin to compile, and to export where there is someone to run it."""
    own = subject(context, "refinemask")
    if not context.cuda:
        begin_compiled(context, own.checkpoint, "fp32", own.canvas, batch=1)
        return
    begin_compiled(context, own.checkpoint, "fp16", own.canvas, batch=1)
    single = own.batch("many", 1)
    context.begin("torch.compile", warm_compiler_cache, own.checkpoint, "fp16", context.device, single)
    begin_compiled(context, own.checkpoint, "fp16", own.canvas, batch=8)
    peer = subject(context, "mask-rcnn")
    begin_compiled(context, peer.checkpoint, "fp16", peer.canvas, batch=1)
    begin_onnx(context, own.checkpoint, "fp32", own.canvas)
    begin_onnx(context, own.checkpoint, "fp16", own.canvas)


def run_network(context: Context) -> NetworkReport:
    """Open the contenders of each race, and let them take turns; what is measured is kept race by race.

    Raises:
        NotRunError: none of them ran.
        FailedCheckError: one finds other detections than the reference.
    """
    ceilings = context.report(CeilingsReport)
    report = NetworkReport(times=(), operations={}, fp16_rate=ceilings.fp16_flops if ceilings else None)
    for race in races(context):
        name = f"{race.family}, batch {race.batch}"
        needed = 0 if context.tiny or not report.times else race.seconds + RESERVED_SECONDS
        times = context.attempt(name, partial(_run_race, context, race), seconds=needed)
        report = replace(report, times=(*report.times, *(times or ())))
        if race.family not in report.operations:
            found = context.attempt(f"operations of {race.family}", partial(_operations, context, race.family))
            report = replace(report, operations=report.operations | ({race.family: found} if found else {}))
        context.keep(report)
    if not report.times:
        raise NotRunError("none of the contenders ran")
    if not context.tiny:
        # Half precision goes far astray where a network is tiny.
        refuse_strangers(report)
    return report


def refuse_strangers(report: NetworkReport) -> None:
    """Raise a FailedCheckError that names the contenders that find other detections than the reference."""
    if strangers := report.strangers():
        raise FailedCheckError("; ".join(map(_other_detections, strangers)))


def _other_detections(time: NetworkTime) -> str:
    assert time.agreement is not None
    shared = f"{time.agreement.matched:.0%} of the {time.agreement.expected} detections of {REFERENCE}"
    return f"{time.contender}, {time.network}, batch {time.batch}, {time.crowd}: finds {shared}"


def _operations(context: Context, family: Family) -> int:
    """Floating-point operations of the exported graph for one image with all detections."""
    network = subject(context, family)
    module = ExportedDetector(load_detector(network.checkpoint)).to(context.device)
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        module(*on_device(network.batch("many", 1), context.device))
    return counter.get_total_flops()


@dataclass(frozen=True)
class _Runner:
    """A contender that is ready."""

    opened: Opened
    memory: int | None


def _run_race(context: Context, race: Race) -> tuple[NetworkTime, ...]:
    network = subject(context, race.family)
    entry = Entry(context=context, subject=network, batch=network.batch("many", race.batch))
    with _tuned():
        runners = _open(context, entry, race.contenders)
        try:
            times = _measure(context, race, network, runners, "many")
            return (*times, *(_measure(context, race, network, runners, "few") if race.few else ()))
        finally:
            runners.clear()
            entry.graphs.clear()
            torch._dynamo.reset()
            free_memory()


def _open(context: Context, entry: Entry, contenders: Sequence[Contender]) -> dict[str, _Runner]:
    runners = {}
    for contender in contenders:
        step = f"open {contender.name}, {entry.subject.name}, batch {len(entry.batch.images)}"
        runner = context.attempt(step, partial(_open_one, context, entry, contender))
        if runner is not None:
            runners[contender.name] = runner
    return runners


def _open_one(context: Context, entry: Entry, contender: Contender) -> _Runner:
    """Open a contender, run it once, and measure its memory."""
    make = partial(_ready, entry, contender)
    return _Runner(*open_measured(make)) if context.cuda else _Runner(make(), None)


def _ready(entry: Entry, contender: Contender) -> Opened:
    opened = contender.open(entry)
    opened.upload(entry.batch)
    with opened.turn():
        opened.run()
    return opened


def _measure(
    context: Context, race: Race, network: Subject, runners: dict[str, _Runner], crowd: Crowd
) -> tuple[NetworkTime, ...]:
    """Detections and times of all contenders on one batch; one that fails is noted, and the rest go on."""
    batch, found = network.batch(crowd, race.batch), {}
    step = f"{race.family}, batch {race.batch}, {crowd}"

    def detect(opened: Opened) -> Detections:
        opened.upload(batch)
        return opened.detections()

    for name, runner in runners.items():
        detections = context.attempt(f"detections of {name}, {step}", partial(detect, runner.opened))
        if detections is not None:
            found[name] = detections

    def note(name: str, error: Exception) -> None:
        context.attempt(f"time {name}, {step}", partial(_raise, error))

    samples = take_turns(
        {name: runners[name].opened for name in found},
        context.device,
        seconds=race.seconds,
        rounds=TINY_ROUNDS if context.tiny else ROUNDS,
        failed=note,
    )
    reference = found.get(REFERENCE)
    return tuple(
        NetworkTime(
            network=race.family,
            contender=name,
            batch=race.batch,
            crowd=crowd,
            detections=float(found[name].num_detections.mean()),
            device_ms=Spread.of([sample.device for sample in taken]),
            wall_ms=Spread.of([sample.wall for sample in taken]),
            enqueue_ms=None if runners[name].opened.waits else Spread.of([sample.enqueue for sample in taken]),
            memory_bytes=runners[name].memory,
            agreement=None if reference is None else agreement(found[name], reference),
        )
        for name, taken in samples.items()
    )


def _raise(error: Exception) -> None:
    raise error


@contextmanager
def _tuned() -> Iterator[None]:
    """Let cuDNN choose the fastest of its algorithms for each shape, for rivals, too."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = True
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before
