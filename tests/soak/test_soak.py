"""Long work in one process: memory, open files and threads do not grow.

``SOAK=0.05`` takes a twentieth of the work; ``SOAK_TABLE=FILE`` adds the figures to a JSON file.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import cv2
import numpy as np
import pytest

import engines
from benchmarks.harness.provenance import provenance
from refinemask.data.coco import read_coco
from refinemask.evaluation.metrics import METRICS
from refinemask.masks import paste_rle
from refinemask.prediction import Predictor
from refinemask.sources.images import ImageFile
from refinemask.streaming.plan import StreamOptions
from refinemask.streaming.stream import stream
from refinemask.structures import Result
from tests.support.bright_box import BrightBox
from tests.support.processes import needs_proc
from tests.support.tolerances import TOLERANCES

pytestmark = [needs_proc, pytest.mark.slow]
FACTOR = float(os.environ.get("SOAK", "1"))


class Use(NamedTuple):
    """What a process holds."""

    memory: float
    """Resident memory in MiB."""
    files: int
    """Open files."""
    threads: int
    """Threads."""


def use() -> Use:
    """What this process holds now."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return Use(int(status["VmRSS"].split()[0]) / 2**10, len(os.listdir("/proc/self/fd")), int(status["Threads"]))


def repetitions(count: int) -> int:
    """How much of the work is done."""
    return max(6, int(count * FACTOR))


def soak(name: str, count: int, work: Callable[[int], object]) -> None:
    """Do the work of each number below ``count``; what is held after a third and at the end must be the same."""
    count = repetitions(count)
    uses = []
    for index in range(count):
        work(index)
        if index + 1 in (count // 3, 2 * count // 3, count):
            uses.append(use())
    _tell(name, count, uses)
    tolerance = TOLERANCES["memory after long work"]
    warm, _, end = uses
    assert end.memory - warm.memory <= tolerance.absolute + tolerance.relative * warm.memory, uses
    assert (end.files, end.threads) <= (warm.files, warm.threads), uses


def _tell(name: str, count: int, uses: list[Use]) -> None:
    if path := os.environ.get("SOAK_TABLE"):
        table = json.loads(Path(path).read_text()) if Path(path).exists() else {}
        figures = {
            f"{what} after {when}": number
            for when, each in zip(("a third", "two thirds", "all"), uses, strict=True)
            for what, number in each._asdict().items()
        }
        table |= {"provenance": asdict(provenance()), name: {"repetitions": count, **figures}}
        Path(path).write_text(json.dumps(table, indent=1) + "\n")


def soak_results(name: str, count: int, results: Iterator[Any]) -> None:
    """As :func:`soak`, of the results of a pipeline that is given :func:`repetitions` of images; they all come."""
    soak(name, count, lambda _: next(results))
    assert next(results, None) is None


SIZES = [(height, width) for height in range(20, 129, 12) for width in range(14, 129, 6)]
"""200 sizes of images, on the 16 canvases that the tiny file takes."""


def infer(engine: engines.Engine, size: tuple[int, int]) -> None:
    """Detect objects in noise of a size, padded to multiples of 32."""
    height, width = size
    image = np.zeros((1, 3, -(-height // 32) * 32, -(-width // 32) * 32), np.uint8)
    noise = np.random.default_rng(height * width).integers(0, 256, (3, height, width), dtype=np.uint8)
    image[0, :, :height, :width] = noise
    engine.infer(image, np.array([[height, width]]))


def open_engine(kind: str, files: tuple[Path, Path]) -> engines.Engine:
    checkpoint, exported = files
    if kind == "pytorch":
        return engines.load(checkpoint, threads=1)
    pytest.importorskip(kind)
    return engines.load(exported, backend=kind, threads=1)


@pytest.mark.parametrize("kind", ["pytorch", "onnxruntime", "openvino"])
def test_inferences_of_many_sizes(kind: str, tiny_files: tuple[Path, Path]) -> None:
    engine = open_engine(kind, tiny_files)
    soak(f"inferences, {kind}", 2000, lambda index: infer(engine, SIZES[index * 7 % len(SIZES)]))


def test_several_runtimes_in_one_process_in_any_order(tiny_files: tuple[Path, Path]) -> None:
    dice = np.random.default_rng(0)

    def each_once(_: int) -> None:
        kinds = dice.permutation(["pytorch", "onnxruntime", "openvino"])
        opened = [open_engine(str(kind), tiny_files) for kind in kinds]
        for engine in dice.permutation(np.array(opened, object)):
            infer(engine, (64, 96))

    soak("three runtimes opened and run", 20, each_once)


def test_pasted_masks() -> None:
    def paste(index: int) -> None:
        random = np.random.default_rng(index)
        corner, side = random.uniform(-20, 500, 2), random.uniform(1, 300, 2)
        box = np.concatenate([corner, corner + side]).astype(np.float32)
        paste_rle(random.random((1, 28, 28), np.float32), box[None], 480, 640)

    soak("pasted masks", 20_000, paste)


class Drawn(Mapping[int, list[Result]]):
    """Results of images that are made when they are asked for, and not kept."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[int]:
        return iter(range(1, self._count + 1))

    def __getitem__(self, image_id: int) -> list[Result]:
        random = np.random.default_rng(image_id)
        return [_detection(image_id, random) for _ in range(20)]


def _detection(image_id: int, random: np.random.Generator) -> Result:
    x, y, width, height = random.uniform(0, 60, 2).tolist() + random.uniform(4, 60, 2).tolist()
    box = np.array([[x, y, x + width, y + height]], np.float32)
    [segmentation] = paste_rle(np.full((1, 28, 28), 0.9, np.float32), box, 128, 128)
    return {
        "image_id": image_id,
        "category_id": 1,
        "bbox": [x, y, width, height],
        "score": float(random.random()),
        "segmentation": segmentation,
    }


def test_evaluated_images(tmp_path: Path) -> None:
    """Evaluations of a thousand images each: what one needs is given back before the next."""
    count = max(20, int(1000 * FACTOR))
    content = {
        "images": [{"id": i, "file_name": f"{i}.png", "height": 128, "width": 128} for i in range(1, count + 1)],
        "annotations": [
            {"id": i, "image_id": i, "category_id": 1, "bbox": [9, 9, 40, 40], "area": 1600, "iscrowd": 0}
            | {"segmentation": [[9, 9, 49, 9, 49, 49, 9, 49]]}
            for i in range(1, count + 1)
        ],
        "categories": [{"id": 1, "name": "square"}],
    }
    (tmp_path / "a.json").write_text(json.dumps(content))
    dataset, metric = read_coco(tmp_path / "a.json"), METRICS["coco"]
    results = Drawn(count)

    def evaluate(_: int) -> None:
        for matches in metric.match(dataset, results, metric.iou_types, 100).values():
            metric.figures(dataset, matches)

    soak(f"evaluations of {count} images", round(10 / FACTOR) if FACTOR < 1 else 10, evaluate)


def pictures(folder: Path) -> list[Path]:
    """Files of many sizes, some of them large, one cut off and one missing."""
    dice, paths = np.random.default_rng(0), []
    for number, (height, width) in enumerate([*SIZES[::5], (1500, 2000), (3000, 900)]):
        paths.append(folder / f"{number}.jpg")
        cv2.imwrite(str(paths[-1]), dice.integers(0, 256, (height, width, 3), np.uint8))
    paths[3].write_bytes(paths[3].read_bytes()[:200])
    return [*paths, folder / "missing.jpg"]


@pytest.mark.parametrize(("kind", "count"), [("bright box", 20_000), ("onnxruntime", 2000), ("pytorch", 1000)])
def test_images_through_a_pipeline(kind: str, count: int, tmp_path: Path, tiny_files: tuple[Path, Path]) -> None:
    predictor: Predictor = BrightBox() if kind == "bright box" else open_engine(kind, tiny_files)
    files = pictures(tmp_path)
    items = (ImageFile(files[index % len(files)], PurePosixPath(f"{index}")) for index in range(repetitions(count)))
    options = StreamOptions(batch_size=4, workers=2)
    with closing(stream(predictor, items, options).results()) as results:
        soak_results(f"images through a pipeline, {kind}", count, results)
