"""``python -m benchmarks.compare --table efficiency``: the four models of the paper's table on a machine's engines.

The models take turns within each round on one backend, so the ratios to Mask R-CNN, which the table is about, compare
the same seconds. The backends follow one another: all sixteen engines at once need more memory than common machines
have, and a process that is swapped out is no measurement.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import torch
import tyro

from benchmarks.efficiency.built import built, require_builder
from benchmarks.efficiency.figure import written
from benchmarks.efficiency.files import Source, count_parameters, exported, find_sources
from benchmarks.efficiency.models import PUBLISHED_AT
from benchmarks.efficiency.quantised import quantised
from benchmarks.efficiency.report import AccuracyInputs, BackendReport, EfficiencyReport, Inputs, ModelReport
from benchmarks.harness.comparison import compare
from benchmarks.harness.graph_cost import count, flops_by_part
from benchmarks.harness.measure import measure
from benchmarks.harness.provenance import cpu
from benchmarks.harness.report import ComparisonReport, EngineReport, build_report, with_accuracy
from benchmarks.harness.report_file import read_report, write_report
from benchmarks.harness.settings import Settings
from benchmarks.harness.spec import openvino_precisions
from refinemask.bundled import PHOTOS
from refinemask.data.coco import read_coco
from refinemask.data.images import find_images
from refinemask.evaluation.ap_star import read_cocofied
from refinemask.evaluation.bootstrap import RESAMPLES
from refinemask.files import UserError, require_not_input, sha256
from refinemask.options import require_at_least, require_own_files, require_page_name
from refinemask.spelling import OptionalNumber, OptionalPath, Output, Size

DETECTIONS = 100
"""Number of detections of random weights in every image, and of the published models at most."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Measure Mask R-CNN, PointRend, HTC and RefineMask (R50) on every engine, beside the published figures.

    Speed is measured on files for one size. Without checkpoints the weights are random, and every image has 100
    detections.
    """

    checkpoints: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="MODEL…")] = ()
    """Trained checkpoints of the models to measure, Mask R-CNN among them."""
    size: Size = (800, 1344)
    """Padded height and width of every input, multiples of 32."""
    backends: Annotated[tuple[str, ...] | None, tyro.conf.arg(metavar="BACKEND…")] = None
    """Backends: pytorch, onnxruntime, openvino:fp32, openvino:bf16, openvino:int8, openvino:int8+bf16,
    tensorrt:PRECISION; if not given, all here but int8 and TensorRT.

    For int8 in OpenVINO the exported files are calibrated on the images and quantised here, and TensorRT's engines are
    exported, built and checked here, unless the work directory has them.
    """
    device: str = "cpu"
    """Device, cpu or cuda."""
    threads: int = 2
    """CPU threads of every engine."""
    rounds: int = 10
    """Images that every engine is timed on."""
    warmup: int = 2
    """Rounds before those that count. TensorRT records its work in the second."""
    images: Path = PHOTOS / "images"
    """An image or a directory of images; with annotations, the directory of the annotated ones."""
    annotations: OptionalPath = None
    """COCO annotations; they add AP and boundary AP, of files for all sizes."""
    ap_star_annotations: OptionalPath = None
    """Annotations of AP* for the same images (refinemask.evaluation.ap_star); they add AP*."""
    limit: OptionalNumber = None
    """Number of the first annotated images to use for AP; all if not given."""
    work: Path = Path("out/efficiency")
    """Directory for random checkpoints and exported files, which later runs use again."""
    output: Output = Path("out/efficiency/table.json")
    """JSON file for the report; the figure lies beside it as .png and .svg."""
    report: OptionalPath = None
    """Page of HTML to look at, in one file."""
    resume: bool = False
    """Whether to keep the backends that the output already has, if their inputs were the same."""

    def settings(self) -> Settings:
        """Settings of the measurement of speed."""
        return Settings(
            threads=self.threads, device=self.device, rounds=self.rounds, warmup=self.warmup, canvas=self.size
        )


def measure_efficiency(plan: Plan, command: str | None = None) -> EfficiencyReport:
    """The whole report, written to ``plan.output`` after every backend.

    Args:
        plan: what to measure.
        command: the command line, if there is one.

    Raises:
        UserError: something given is wrong, or random weights gave other than 100 detections.
    """
    _check(plan)
    images = find_images([plan.images])
    sources = find_sources(plan.checkpoints, plan.work)
    files = {source.model.key: exported(source, plan.work, plan.images, plan.size) for source in sources}
    settings = plan.settings()
    report = EfficiencyReport(
        inputs=Inputs(
            settings=settings,
            images=tuple(path.name for path in images),
            weights="random" if sources[0].random else "trained",
            accuracy=_accuracy_inputs(plan),
        ),
        device=_device_name(plan.device),
        published_at=PUBLISHED_AT,
        models=tuple(_describe(source, files[source.model.key]) for source in sources),
    )
    if plan.resume and plan.output.is_file():
        report = _resumed(report, plan.output)
    for backend in plan.backends or _backends_here(plan.device):
        if backend in [each.backend for each in report.backends]:
            continue
        print(f"measuring {backend}", flush=True)
        engines = [_engine(backend, source, plan, plan.size) for source in sources]
        comparison = replace(build_report(measure(engines, images, settings)), command=command)
        if plan.annotations:
            comparison = with_accuracy(comparison, _compared(backend, sources, plan))
        require_all_detections(comparison.engines, sources)
        report = replace(report, backends=(*report.backends, BackendReport.of(backend, comparison)))
        write_report(report, plan.output)
    return report


def _check(plan: Plan) -> None:
    require_at_least(1, limit=plan.limit)
    if not plan.checkpoints and plan.annotations:
        raise UserError("AP of random weights means nothing: leave out --annotations, or name trained checkpoints")
    if plan.ap_star_annotations and not plan.annotations:
        raise UserError("--ap-star-annotations needs --annotations, too: both judge the same detections")
    require_page_name("--report", plan.report)
    inputs = (*plan.checkpoints, plan.annotations, plan.ap_star_annotations)
    require_own_files({"--output": plan.output, "--report": plan.report}, *inputs)
    for output in written(plan.output):
        require_not_input(output, *inputs)
    if plan.device != "cpu" and not torch.cuda.is_available():
        raise UserError(f"device '{plan.device}' was asked for, but there is no GPU; use --device cpu")
    for backend in plan.backends or ():
        if backend.startswith("tensorrt"):
            require_builder(backend, plan.device)


def _describe(source: Source, onnx: Path) -> ModelReport:
    flops = flops_by_part(count(onnx))
    return ModelReport(
        key=source.model.key,
        name=source.model.name,
        checkpoint_sha256=sha256(source.checkpoint),
        parameters=count_parameters(source.checkpoint),
        gflops=sum(flops.values()) / 1e9,
        gflops_by_part={part: operations / 1e9 for part, operations in flops.items()},
        published=source.model.published,
    )


def _device_name(device: str) -> str:
    return cpu().model if device == "cpu" else torch.cuda.get_device_name(device)


def _backends_here(device: str) -> list[str]:
    if device != "cpu":
        return ["pytorch", "onnxruntime"]
    return ["pytorch", "onnxruntime", *(f"openvino:{precision}" for precision in openvino_precisions())]


def _engine(backend: str, source: Source, plan: Plan, size: tuple[int, int] | None) -> str:
    """The engine of a model on a backend, as :class:`benchmarks.harness.spec.EngineSpec` reads it."""
    name, _, precision = backend.partition(":")
    if name == "tensorrt":
        return f"{built(source, precision or 'fp32', plan.work, plan.images, size)}@{backend}"
    if name == "openvino" and "int8" in precision:
        return f"{quantised(source, plan.work, plan.images, size, plan.size)}@{backend}"
    path = source.checkpoint if name == "pytorch" else exported(source, plan.work, plan.images, size)
    return f"{path}@{backend}"


def _compared(backend: str, sources: Sequence[Source], plan: Plan) -> ComparisonReport:
    """The models over the annotated images in their own sizes."""
    assert plan.annotations is not None
    engines = [_engine(backend, source, plan, None) for source in sources]
    ap_star = read_cocofied(plan.ap_star_annotations) if plan.ap_star_annotations else None
    settings = Settings(threads=plan.threads, device=plan.device, warmup=0)
    return compare(engines, read_coco(plan.annotations), plan.images, settings, plan.limit, ap_star, RESAMPLES)


def _accuracy_inputs(plan: Plan) -> AccuracyInputs:
    return AccuracyInputs(
        annotations=sha256(plan.annotations) if plan.annotations else None,
        ap_star_annotations=sha256(plan.ap_star_annotations) if plan.ap_star_annotations else None,
        limit=plan.limit,
    )


def require_all_detections(engines: Sequence[EngineReport], sources: Sequence[Source]) -> None:
    """Refuse a measurement of random weights that did not have the work of 100 detections in every image.

    Raises:
        UserError: an image had fewer.
    """
    for engine, source in zip(engines, sources, strict=True):
        counts = engine.detections_per_image
        if source.random and not counts.min == counts.max == DETECTIONS:
            raise UserError(
                f"{engine.engine}: random weights gave {counts.min} to {counts.max} detections; expected "
                f"{DETECTIONS} in every image: use a larger --size"
            )


def _resumed(report: EfficiencyReport, output: Path) -> EfficiencyReport:
    """The report with the backends that an earlier run of the same inputs has measured."""
    earlier = read_report(EfficiencyReport, output)
    if (earlier.inputs, earlier.device, earlier.models) != (report.inputs, report.device, report.models):
        raise UserError(f"{output}: is of other inputs; measure anew without --resume, or name another --output")
    return replace(report, backends=earlier.backends)
