"""What holds of every output: threads render what one would, and the memory does not grow."""

import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from refinemask.prediction import Prediction
from refinemask.writers.annotated_video import AnnotatedVideo
from refinemask.writers.coco_polygons import CocoPolygons
from refinemask.writers.coco_results import CocoResults
from refinemask.writers.instance_masks import InstanceMasks
from refinemask.writers.json_lines import JsonLines
from refinemask.writers.labelme import Labelme
from refinemask.writers.pictures import Pictures
from refinemask.writers.writer import Writer
from tests.support.written import HEIGHT, PIXELS, WIDTH, clip, frame, prediction, put

WRITERS: dict[str, Callable[[Path], Writer]] = {
    "COCO results": lambda folder: CocoResults(folder / "results.json"),
    "JSON lines": lambda folder: JsonLines(folder / "found.jsonl"),
    "pictures": lambda folder: Pictures(folder / "pictures"),
    "video": lambda folder: AnnotatedVideo(folder / "videos"),
    "instance masks": lambda folder: InstanceMasks(folder / "masks"),
    "COCO polygons": lambda folder: CocoPolygons(folder / "draft.json"),
    "labelme": lambda folder: Labelme(folder / "labelme"),
}
IN_ONE_FILE = ("COCO results", "JSON lines", "COCO polygons")


def found(seed: int) -> Prediction:
    """Some objects at random."""
    random = np.random.default_rng(seed)
    rows, columns = np.indices((HEIGHT, WIDTH))
    centres = random.uniform(0, [HEIGHT, WIDTH], (6, 2))
    masks = np.stack([np.hypot(rows - y, columns - x) < 5 for y, x in centres])
    return prediction(masks, labels=random.integers(0, 2, 6).tolist())


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", WRITERS)
def test_threads_render_what_one_renders(tmp_path: Path, name: str) -> None:
    video, count = clip(), 24

    def run(folder: Path, threads: int) -> dict[str, bytes]:
        with WRITERS[name](folder) as writer, ThreadPoolExecutor(threads) as pool:

            def render(index: int) -> Any:
                return writer.render(frame(video, index), found(index), PIXELS)

            for index, rendered in enumerate(pool.map(render, range(count))):
                writer.write(frame(video, index), found(index), rendered)
        return files(folder)

    serial = run(tmp_path / "serial", 1)
    assert serial
    assert run(tmp_path / "threads", 8) == serial


@pytest.mark.parametrize("name", IN_ONE_FILE)
def test_the_memory_does_not_grow_with_the_number_of_images(tmp_path: Path, name: str) -> None:
    video, each, count = clip(), found(0), 2000
    with WRITERS[name](tmp_path) as writer:
        for index in range(20):
            put(writer, frame(video, index), each, PIXELS)
        rendered = writer.render(frame(video, 0), each, PIXELS)
        tracemalloc.start()
        try:
            for index in range(count):
                writer.write(frame(video, index), each, rendered)
            grown, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert grown < 10 * count, "bytes: one number an image would take more"
    assert sum(map(len, files(tmp_path).values())) > 100 * count
