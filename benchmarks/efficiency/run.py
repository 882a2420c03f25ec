"""``python -m benchmarks.compare --table efficiency``: the four models of the paper's table on a machine's engines.

The models take turns within each round on one backend, so the ratios to Mask R-CNN, which are what the table is about,
are of the same seconds. The backends follow one another: all sixteen engines at once need more memory than common
machines have, and a process that is swapped out is no measurement.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import tyro

from benchmarks.compare import compare
from benchmarks.efficiency.figure import draw
from benchmarks.efficiency.files import Source, count_parameters, exported, find_sources
from benchmarks.efficiency.models import PUBLISHED_AT
from benchmarks.efficiency.table import print_table
from benchmarks.harness.graph_cost import count, group, part, total
from benchmarks.harness.measure import Settings, measure, require_at_least
from benchmarks.harness.provenance import cpu
from benchmarks.harness.report import Report, build_report, write_report
from benchmarks.harness.spec import openvino_precisions
from refinemask.bundled import PHOTOS
from refinemask.contract import parse_size
from refinemask.data.coco import read_coco
from refinemask.evaluation.ap_star import read_cocofied
from refinemask.files import UserError, sha256
from refinemask.predict import find_images


@dataclass(frozen=True, kw_only=True)
class Args:
    """Measure Mask R-CNN, PointRend, HTC and RefineMask (R50) on every engine, beside the published figures.

    Speed is of files for one size. Without checkpoints the weights are random, and every image has 100 detections.
    """

    checkpoints: tyro.conf.Positional[tuple[Path, ...]] = ()
    """Trained checkpoints of the models to measure, Mask R-CNN among them."""
    size: str = "800x1344"
    """Padded HEIGHTxWIDTH of every input, multiples of 32."""
    backends: tuple[str, ...] | None = None
    """pytorch, onnxruntime, openvino:fp32, openvino:bf16, tensorrt:PRECISION; if not given, what this machine has.

    TensorRT runs MODEL-SIZE-PRECISION.engine in the work directory, built of the ONNX files there (engines.build).
    """
    device: str = "cpu"
    """cpu or cuda."""
    threads: int = 2
    """CPU threads of every engine."""
    rounds: int = 10
    """Images that every engine is timed on."""
    warmup: int = 1
    """Rounds before those that count."""
    images: Path = PHOTOS / "images"
    """An image or a directory of images; with annotations, the directory of the annotated ones."""
    annotations: Path | None = None
    """COCO annotations: adds AP and boundary AP, of files for all sizes."""
    ap_star_annotations: Path | None = None
    """Annotations of AP* for the same images (refinemask.evaluation.ap_star): adds AP*."""
    limit: int | None = None
    """AP of only the first so many annotated images."""
    work: Path = Path("out/efficiency")
    """Directory for random checkpoints and exported files; those that are there are used again."""
    output: Path = Path("out/efficiency/table.json")
    """JSON file for the report; the figure lies beside it as .png and .svg."""
    resume: bool = False
    """Keep the backends that the output already has, if it is of the same inputs."""

    def settings(self, size: tuple[int, int]) -> Settings:
        """Of the measurement of speed."""
        return Settings(threads=self.threads, device=self.device, rounds=self.rounds, warmup=self.warmup, canvas=size)


def main(args: Args) -> int:
    """Measure, print the table, write JSON and figure; exit code 2 where something given is wrong."""
    try:
        report = efficiency(args)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print_table(report)
    for path in draw(report, args.output):
        print(f"figure: {path}")
    print(f"report with all samples: {args.output}")
    return 0


def efficiency(args: Args) -> Report:
    """The whole report, written to ``args.output`` after every backend.

    Raises:
        UserError: something given is wrong, or random weights gave other than 100 detections.
    """
    require_at_least(1, limit=args.limit)
    size, images = parse_size(args.size), find_images([args.images])
    if not args.checkpoints and args.annotations:
        raise UserError("AP of random weights means nothing: leave out --annotations, or name trained checkpoints")
    if args.ap_star_annotations and not args.annotations:
        raise UserError("--ap-star-annotations needs --annotations, too: both judge the same detections")
    if args.device != "cpu" and not torch.cuda.is_available():
        raise UserError(f"device '{args.device}' was asked for, but there is no GPU; use --device cpu")
    sources = find_sources(args.checkpoints, args.work)
    files = {source.model.key: exported(source, args.work, args.images, size) for source in sources}
    settings = args.settings(size)
    report: Report = {
        "table": "efficiency",
        "inputs": {
            "settings": asdict(settings),
            "images": [path.name for path in images],
            "weights": "random" if sources[0].random else "trained",
            "accuracy": _accuracy_inputs(args),
        },
        "device": _device_name(args.device),
        "published_at": PUBLISHED_AT,
        "models": [_describe(source, files[source.model.key]) for source in sources],
        "backends": [],
    }
    if args.resume:
        report["backends"] = _finished(args.output, report)
    for backend in args.backends or _backends_here(args.device):
        if backend in [each["backend"] for each in report["backends"]]:
            continue
        print(f"measuring {backend}", flush=True)
        engines = [_engine(backend, source, files[source.model.key]) for source in sources]
        measurement = measure(engines, images, settings)
        found = build_report(measurement, _accuracy(backend, sources, args) if args.annotations else None)
        _check_detections(found, sources)
        report["backends"].append({"backend": backend, **found})
        write_report(report, args.output)
    return report


def _describe(source: Source, onnx: Path) -> dict[str, Any]:
    costs = count(onnx)
    return {
        "key": source.model.key,
        "name": source.model.name,
        "checkpoint_sha256": sha256(source.checkpoint),
        "parameters": count_parameters(source.checkpoint),
        "gflops": total(costs).flops / 1e9,
        "gflops_by_part": {name: cost.flops / 1e9 for name, cost in group(costs, part).items() if cost.flops},
        "published": asdict(source.model.published),
    }


def _device_name(device: str) -> str:
    return cpu()["model"] if device == "cpu" else torch.cuda.get_device_name(device)


def _backends_here(device: str) -> list[str]:
    if device != "cpu":
        return ["pytorch", "onnxruntime"]
    return ["pytorch", "onnxruntime", *(f"openvino:{precision}" for precision in openvino_precisions())]


def _engine(backend: str, source: Source, onnx: Path) -> str:
    """As :class:`benchmarks.harness.spec.EngineSpec` reads it."""
    name, _, precision = backend.partition(":")
    if name != "tensorrt":
        return f"{source.checkpoint if name == 'pytorch' else onnx}@{backend}"
    path = onnx.with_name(f"{onnx.stem}-{precision}.engine")
    if not path.is_file():
        raise UserError(
            f"{path}: no such file; build it of an export of {source.checkpoint.name} in that precision and size "
            "(export.to_onnx, engines.build)"
        )
    return f"{path}@{backend}"


def _accuracy(backend: str, sources: Sequence[Source], args: Args) -> list[dict[str, Any]]:
    """Of each model, over the annotated images in their own sizes."""
    assert args.annotations is not None
    engines = [_engine(backend, source, exported(source, args.work, args.images)) for source in sources]
    ap_star = read_cocofied(args.ap_star_annotations) if args.ap_star_annotations else None
    settings = Settings(threads=args.threads, device=args.device, warmup=0)
    report = compare(engines, read_coco(args.annotations), args.images, settings, args.limit, ap_star)
    return [engine["accuracy"] for engine in report["engines"]]


def _accuracy_inputs(args: Args) -> dict[str, Any]:
    files = {"annotations": args.annotations, "ap_star_annotations": args.ap_star_annotations}
    return {name: sha256(path) for name, path in files.items() if path is not None} | {"limit": args.limit}


def _check_detections(report: Report, sources: Sequence[Source]) -> None:
    for engine, source in zip(report["engines"], sources, strict=True):
        found, expected = engine["detections_per_image"], 100
        if source.random and not found["min"] == found["max"] == expected:
            raise UserError(
                f"{engine['engine']}: random weights gave {found['min']} to {found['max']} detections; expected "
                f"{expected} in every image: use a larger --size"
            )


def _finished(output: Path, report: Report) -> list[Report]:
    """The backends that an earlier run of the same inputs has measured."""
    if not output.is_file():
        return []
    earlier = json.loads(output.read_text())
    expected = json.loads(json.dumps(report))
    if any(earlier.get(key) != expected[key] for key in ("inputs", "device", "models")):
        raise UserError(f"{output}: is of other inputs; measure anew without --resume, or name another --output")
    return earlier["backends"]
