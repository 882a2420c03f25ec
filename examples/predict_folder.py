"""Find the objects of every picture in a folder, draw them, write a COCO results file, and read that file again.

    python examples/predict_folder.py
    python examples/predict_folder.py OUT --images FOLDER --model MODEL

A model is a checkpoint (.safetensors) or an exported file (.onnx, .engine, .pt2). Without options this takes the 229
bundled pictures of cell nuclei and the bundled checkpoint: one to two minutes on two CPU cores.

Needs the extras train (for a checkpoint) or cpu (for an .onnx file), and draw.
"""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import tyro

import engines
from refinemask.bundled import DEMO, NUCLEI
from refinemask.masks import decode
from refinemask.prediction import DRAWN_SCORE
from refinemask.sources.words import source_of
from refinemask.writers.coco_results import CocoResults
from refinemask.writers.pictures import Pictures
from refinemask.writers.write import write_predictions

MODEL = DEMO / "weights" / "refinemask-nuclei.safetensors"


def main(
    output: tyro.conf.Positional[Path] = Path("out/predict_folder"),
    images: Path = NUCLEI / "images",
    model: Path = MODEL,
) -> None:
    """Predict the pictures of a folder.

    Args:
        output: folder for the drawings and results.json.
        images: folder of pictures.
        model: checkpoint or exported file.
    """
    engine = engines.load(model)
    source = source_of([images])
    results = output / "results.json"
    # A picture that cannot be read is no reason to lose the others.
    written = write_predictions(engine, source, [CocoResults(results), Pictures(output, inputs=source.paths)])
    for reason in written.reasons:
        print(f"skipped: {reason}")
    print(f"{written.predicted} of {source.total} pictures in {engine.name} {engine.precision}: {output}")
    summarise(results)


def summarise(results: Path) -> None:
    """Read a results file, and print how many objects each picture has and how much of it they cover."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for result in json.loads(results.read_text()):
        # The file has every detection. A drawing has those of at least this score.
        if result["score"] >= DRAWN_SCORE:
            found[result["file_name"]].append(result)
    for name, objects in found.items():
        height, width = objects[0]["segmentation"]["size"]
        masks = decode([result["segmentation"] for result in objects], height, width)
        largest = masks.sum(axis=(1, 2)).max()
        share = masks.any(axis=0).mean()
        print(f"{name}: {len(objects)} objects cover {share:.0%} of it, the largest has {largest} pixels")


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
