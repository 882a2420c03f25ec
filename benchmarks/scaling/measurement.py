"""Engines taking turns within each setting, in processes of that setting alone, and so is their memory."""

import os
import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from benchmarks.harness.interleave import Round, interleave
from benchmarks.harness.load import ForeignLoad
from benchmarks.harness.measure import joules_of
from benchmarks.harness.measured_device import MeasuredDevice, open_device
from benchmarks.harness.provenance import provenance
from benchmarks.harness.report_file import read_report, write_report
from benchmarks.harness.spec import EngineSpec
from benchmarks.harness.summary import percentiles
from benchmarks.harness.worker import Worker
from benchmarks.scaling.covers import filled, find_covers, write_cover
from benchmarks.scaling.growth import fit_growth
from benchmarks.scaling.plan import Plan, needed_size, series
from benchmarks.scaling.report import PHASES, Cover, Inputs, Point, ScalingReport, Setting, SettingReport
from refinemask.data.images import find_images, read_image
from refinemask.files import UserError, sha256
from refinemask.readable import require_readable

WARM_UPS = 2
"""Runs of each engine before those that count, and no fewer than it has batches."""


def measure_scaling(plan: Plan) -> ScalingReport:
    """The whole report, written to ``plan.output`` after every setting.

    Raises:
        UserError: something given is wrong, or no engine could run in any setting.
    """
    specs, images = _specs(plan.engines), _images(plan)
    report = ScalingReport(
        provenance=provenance(spec.path for spec in specs),
        inputs=Inputs(
            engines=tuple(map(str, specs)),
            sha256=tuple(sha256(spec.path) for spec in specs),
            images=tuple(path.name for path in images),
            device=plan.device,
            rounds=plan.rounds,
        ),
        series=series(plan, _needed(plan, specs[0], images)),
    )
    if plan.resume and plan.output is not None and plan.output.is_file():
        report = _resumed(report, plan.output)
    with tempfile.TemporaryDirectory() as folder:
        report = _measured(plan, specs, images, Path(folder), report)
    if not any(each.points for each in report.settings):
        raise UserError(f"no engine could run in any setting: {next(iter(report.settings[0].not_possible.values()))}")
    report = replace(report, growth=fit_growth(report))
    write_report(report, plan.output)
    return report


def _measured(
    plan: Plan, specs: Sequence[EngineSpec], images: Sequence[Path], folder: Path, report: ScalingReport
) -> ScalingReport:
    """The report with every setting that it lacks."""
    done, known = {each.setting for each in report.settings}, {each.wanted for each in report.covers}
    missing = [key for key in dict.fromkeys(key for keys in report.series.values() for key in keys) if key not in done]
    wanted = [key.detections for key in missing if key.detections is not None and key.detections not in known]
    if wanted:
        covers = _covers(plan, specs, images, wanted, report.series["base"][0], folder)
        report = replace(report, covers=(*report.covers, *covers))
    bar = tqdm(missing, "measuring", unit="setting", disable=None)
    for setting in bar:
        bar.set_postfix_str(str(setting))
        paths = _pictures(setting, images, report.covers, folder)
        if paths:
            found = _measure_setting(plan, specs, setting, filled(paths, setting.batch))
        else:
            reason = f"these images give no number near to {setting.detections}"
            found = SettingReport(
                setting=setting, foreign_load=None, points=(), not_possible={str(spec): reason for spec in specs}
            )
        report = replace(report, settings=(*report.settings, found))
        write_report(report, plan.output)
    return report


def _measure_setting(
    plan: Plan, specs: Sequence[EngineSpec], setting: Setting, batches: Sequence[Sequence[Path]]
) -> SettingReport:
    not_possible: dict[str, str] = {}
    with ExitStack() as stack:
        workers = []
        for spec in specs:
            try:
                workers.append(_warm_worker(stack, plan, spec, setting, batches))
            except UserError as error:
                not_possible[str(spec)] = str(error)
        load, device = ForeignLoad([os.getpid(), *(worker.pid for worker in workers)]), open_device(plan.device)
        try:
            turns = interleave(workers, batches, rounds=plan.rounds, warmup=0, canvas=setting.size, device=device)
            # The masks that were found are not needed.
            rounds = [replace(each, results=[]) for each in turns] if workers else []
        except UserError as error:
            # Which engine it was stands in the error; without it the others' turns are not what they were.
            rounds, workers = [], []
            not_possible = {str(spec): not_possible.get(str(spec), str(error)) for spec in specs}
        return SettingReport(
            setting=setting,
            foreign_load=load.fraction(),
            points=tuple(_point(worker, index, rounds, setting, device) for index, worker in enumerate(workers)),
            not_possible=not_possible,
            states=tuple(each.state for each in rounds if each.state is not None) or None,
        )


def _warm_worker(
    stack: ExitStack, plan: Plan, spec: EngineSpec, setting: Setting, batches: Sequence[Sequence[Path]]
) -> Worker:
    """The engine, after it has run every batch; ``stack`` closes it. One that cannot is closed at once."""
    with ExitStack() as own:
        worker = own.enter_context(_worker(plan, spec, setting.threads))
        for number in range(max(WARM_UPS, len(batches))):
            worker.process(batches[number % len(batches)], setting.size)
        stack.push(own.pop_all())
        return worker


def _needed(plan: Plan, spec: EngineSpec, images: Sequence[Path]) -> tuple[int, int]:
    """The padded (height, width) that the images need by the model's preprocessing."""
    with _worker(plan, spec, 1) as worker:
        preprocessing = worker.config.preprocessing
    return needed_size([read_image(path, preprocessing.window).shape[:2] for path in images], preprocessing)


def _point(
    worker: Worker, index: int, rounds: Sequence[Round], setting: Setting, device: MeasuredDevice | None
) -> Point:
    samples, device_bytes = [each.samples[index] for each in rounds], worker.device_memory_bytes()
    seconds = {
        "engine": [each.seconds["engine"] for each in samples],
        "total": [sum(each.seconds.values()) for each in samples],
    }
    milliseconds = {phase: tuple(round(1000 * value, 4) for value in seconds[phase]) for phase in PHASES}
    latency = {phase: percentiles(values) for phase, values in milliseconds.items()}
    peak, joules = worker.peak_memory_bytes(), joules_of(index, rounds, device)
    return Point(
        engine=str(worker.spec),
        detections=tuple(sum(each.detections) / setting.batch for each in samples),
        images_per_second=1000 * setting.batch / latency["total"].p50,
        peak_memory_mib=None if peak is None else peak / 2**20,
        device_memory_mib=None if device_bytes is None else device_bytes / 2**20,
        joules_per_image=None if joules is None else joules / (setting.batch * len(rounds)),
        latency_ms=latency,
        samples_ms=milliseconds,
    )


def _covers(
    plan: Plan, specs: Sequence[EngineSpec], images: Sequence[Path], wanted: Sequence[int], base: Setting, folder: Path
) -> list[Cover]:
    """Covered images, tried out on the first engine that can run."""
    reasons = []
    for spec in specs:
        try:
            with _worker(plan, spec, base.threads) as worker:
                return find_covers(worker, images, wanted, base, folder)
        except UserError as error:
            reasons.append(str(error))
    raise UserError(f"no engine can run {base}: {reasons[0]}")


def _pictures(setting: Setting, images: Sequence[Path], covers: Sequence[Cover], folder: Path) -> list[Path]:
    """The image files of a setting; none where no image gives the number of detections."""
    if setting.detections is None:
        return list(images)
    by_name = {path.name: path for path in images}
    chosen = [each for each in covers if each.wanted == setting.detections]
    return [write_cover(by_name[each.image], each.open_share, folder) for each in chosen]


def _specs(engines: Sequence[str]) -> list[EngineSpec]:
    specs = [EngineSpec.parse(text) for text in engines]
    for number, spec in enumerate(specs):
        require_readable(spec.path)
        if str(spec) in map(str, specs[:number]):
            raise UserError(f"two engines are called {spec}; expected different names: the report tells them apart so")
    return specs


def _images(plan: Plan) -> list[Path]:
    images = find_images(plan.images)[: plan.limit]
    for name, count in Counter(path.name for path in images).items():
        if count > 1:
            raise UserError(
                f"{count} images are called {name}; expected different names: the report tells them apart so"
            )
    return images


def _worker(plan: Plan, spec: EngineSpec, threads: int) -> Worker:
    return Worker(spec, threads=threads, device=plan.device, trust_engine=plan.trust_engine)


def _resumed(report: ScalingReport, output: Path) -> ScalingReport:
    """The report with the settings that an earlier run of the same inputs has measured."""
    earlier = read_report(ScalingReport, output)
    old, new = earlier.provenance, report.provenance
    if (earlier.inputs, old.cpu, old.versions) != (report.inputs, new.cpu, new.versions):
        raise UserError(
            f"{output}: is of other inputs, versions or another CPU; measure anew without --resume, or name another "
            "--output"
        )
    return replace(report, covers=earlier.covers, settings=earlier.settings)
