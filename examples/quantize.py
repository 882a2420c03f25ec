"""Quantise an exported file to int8, and measure what that costs in average precision.

    python examples/quantize.py

The ranges of the bundled model's layers were measured once and are kept beside its weights. For your own model leave
them out: then it is calibrated on the images, and the ranges are written beside the new file.

    export.quantize_onnx("r50.onnx", "r50-int8.onnx", images="train2017")

It takes about a minute on two CPU cores, most of it the export. Both files are evaluated in ONNX Runtime, which runs
int8 in its integer kernels. On a CPU OpenVINO is the faster one: ``engines.load(…, backend="openvino")``.

Needs the extras export and cpu.
"""

from pathlib import Path

import tyro

import engines
import refinemask
from export import export_onnx, quantize_onnx
from refinemask.bundled import DEMO, NUCLEI

WEIGHTS = DEMO / "weights"


def main(output: tyro.conf.Positional[Path] = Path("out/quantize"), limit: int | None = None) -> dict[str, float]:
    """Quantise the bundled model; returns the mask AP of each precision.

    Args:
        output: folder for the files. A file that was exported there before is used again.
        limit: number of pictures to evaluate on; None is all 46.
    """
    source, quantised = output / "refinemask-nuclei.onnx", output / "refinemask-nuclei-int8.onnx"
    if not source.is_file():
        export_onnx(WEIGHTS / "refinemask-nuclei.safetensors", source, masks="found", verify_images=NUCLEI / "images")
    report = quantize_onnx(
        source, quantised, images=NUCLEI / "images", ranges=WEIGHTS / "refinemask-nuclei.ranges.json"
    )
    for reason, layers in report.kept.items():
        print(f"{len(layers)} layers are not quantised: {reason}")
    return {path.name: mask_ap(path, limit) for path in (source, quantised)}


def mask_ap(path: Path, limit: int | None) -> float:
    """Evaluate a file on the bundled pictures that the model has not seen."""
    engine = engines.load(path)
    annotations = NUCLEI / "annotations" / "instances_val.json"
    evaluation = refinemask.evaluate(engine, annotations, NUCLEI / "images", limit=limit)
    ap = evaluation.figures["segm"]["AP"]
    print(f"{path.name}: {engine.precision}, mask AP {100 * ap:.2f} on {evaluation.images} pictures")
    return ap


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
