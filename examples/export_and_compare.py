"""Export a checkpoint to ONNX, and compare PyTorch, ONNX Runtime and OpenVINO: agreement, average precision and speed.

    python examples/export_and_compare.py
    python examples/export_and_compare.py OUT --model r50.safetensors --annotations VAL.json --images FOLDER

Every engine runs in a process of its own, and they take turns on the same pictures. Without options this takes the
bundled model and 46 pictures of cell nuclei: about two minutes on two CPU cores. OpenVINO is left out where it is not
installed.

Needs the extras export, cpu, openvino and bench.
"""

from pathlib import Path

import tyro

from benchmarks.harness.comparison import compare
from benchmarks.harness.report import ComparisonReport
from benchmarks.harness.report_file import write_report
from benchmarks.harness.settings import Settings
from benchmarks.harness.spec import openvino_precisions
from benchmarks.harness.tables import print_comparison
from export import export_onnx
from export.tables import print_export
from refinemask.bundled import DEMO, NUCLEI
from refinemask.data.coco import read_coco

MODEL = DEMO / "weights" / "refinemask-nuclei.safetensors"


def main(
    output: tyro.conf.Positional[Path] = Path("out/export_and_compare"),
    model: Path = MODEL,
    annotations: Path = NUCLEI / "annotations" / "instances_val.json",
    images: Path = NUCLEI / "images",
    limit: int | None = None,
    threads: int = 2,
) -> ComparisonReport:
    """Export, check, compare.

    Args:
        output: folder for the exported file and the report.
        model: checkpoint to export.
        annotations: COCO annotations of the pictures.
        images: folder of the pictures.
        limit: number of the first pictures to use; None is all.
        threads: CPU threads of every engine.
    """
    onnx = output / f"{model.stem}.onnx"
    # Masks for found objects only: quicker on a CPU. For TensorRT leave ``masks`` out.
    report = export_onnx(model, onnx, masks="found", verify_images=images)
    # The export has compared each detection with PyTorch's; had they differed, there would be no file.
    print_export(report)

    engines = [str(model), str(onnx), *(f"{onnx}@openvino:{precision}" for precision in openvino_precisions())]
    comparison = compare(engines, read_coco(annotations), images, Settings(threads=threads), limit)
    write_report(comparison, output / "report.json")
    print_comparison(comparison)
    return comparison


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
