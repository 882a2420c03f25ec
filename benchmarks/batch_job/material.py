"""The model and the images of the benchmark."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory

from refinemask.bundled import DEMO

CHECKPOINT = DEMO / "weights" / "refinemask-nuclei.safetensors"
ANNOTATIONS = DEMO / "nuclei" / "annotations" / "instances_val.json"


@contextmanager
def nuclei_model(side: int) -> Iterator[Path]:
    """The bundled model as an exported file that resizes images to ``side``, for the time of the block."""
    from export import export_onnx
    from refinemask.config import Preprocessing
    from refinemask.weights import load_detector, save_detector

    with TemporaryDirectory(prefix="refinemask-batch-") as folder:
        detector = load_detector(CHECKPOINT)
        sizes = replace(detector.config.preprocessing, short_side=side, long_side=side)
        assert isinstance(sizes, Preprocessing)
        detector.config = replace(detector.config, preprocessing=sizes)
        checkpoint, onnx = Path(folder) / "nuclei.safetensors", Path(folder) / "nuclei.onnx"
        save_detector(detector, checkpoint, recipe="nuclei")
        export_onnx(checkpoint, onnx, masks="found")
        yield onnx


def validation_images() -> list[Path]:
    """The pictures of the validation set."""
    import json

    names = [image["file_name"] for image in json.loads(ANNOTATIONS.read_text())["images"]]
    return [DEMO / "nuclei" / "images" / name for name in names]


def write_list(path: Path, count: int) -> list[Path]:
    """Write a list of so many images, the same ones again and again, and return them."""
    images = list(islice(cycle(validation_images()), count))
    path.write_text("".join(f"{image.absolute()}\n" for image in images))
    return images
