"""Serve a detector over HTTP with LitServe: an image goes in, JSON with COCO run lengths comes out.

    python examples/serve_with_litserve.py
    curl -H 'Content-Type: image/png' --data-binary @demo/nuclei/images/0005.png http://127.0.0.1:8000/predict
    python examples/serve_with_litserve.py --model MODEL --port 8001 --workers 2 --threads 1

Ctrl+C stops it. What is no image is answered with status 400 and one line that says why
(explained: docs/serve-with-python.md).

Needs the package litserve, and the extras train (for a checkpoint) or cpu (for an .onnx file).
"""

from pathlib import Path
from typing import Annotated, Any, Literal

import litserve
import numpy as np
import tyro
from fastapi import Body, HTTPException
from numpy.typing import NDArray

import engines
from refinemask.bundled import DEMO
from refinemask.data.images import decode_image
from refinemask.files import UserError
from refinemask.prediction import Prediction

MODEL = DEMO / "weights" / "refinemask-nuclei.safetensors"
ImageBytes = Annotated[bytes, Body(media_type="image/*")]
"""An image file as the whole body of a request; without this LitServe expects JSON."""


class Detector(litserve.LitAPI):
    """What each worker process does: it has an engine of its own, and answers one request after the other."""

    def __init__(self, model: Path, threads: int | None) -> None:
        super().__init__()
        self.model, self.threads = model, threads

    def setup(self, device: str) -> None:
        """Open the engine; LitServe names a GPU with its number."""
        self.engine = engines.load(self.model, device=device.partition(":")[0], threads=self.threads)

    def decode_request(self, request: ImageBytes) -> NDArray[np.uint8]:
        """The picture, [h, w, 3] uint8 RGB."""
        try:
            return decode_image("the image", request, self.engine.config.preprocessing.window)
        except UserError as error:
            raise HTTPException(400, str(error)) from error

    def predict(self, image: NDArray[np.uint8]) -> Prediction:
        """What the engine finds in a picture."""
        try:
            return next(self.engine.predict([image]))
        except UserError as error:
            raise HTTPException(400, str(error)) from error

    def encode_response(self, found: Prediction) -> dict[str, Any]:
        """The picture's size, and the entries of a COCO results file, with the classes' names."""
        named = zip(found.class_names, found.to_coco(), strict=True)
        objects = [{"class_name": name, **entry} for name, entry in named]
        return {"height": found.height, "width": found.width, "objects": objects}


def main(
    model: Path = MODEL,
    port: int = 8000,
    device: Literal["cpu", "cuda"] = "cpu",
    workers: int = 1,
    threads: int | None = None,
) -> None:
    """Serve until the process is stopped.

    Args:
        model: checkpoint or exported file.
        port: port on this machine; others do not reach it.
        device: what the engine computes on.
        workers: processes, each with an engine.
        threads: CPU threads of each engine; if not given, the engine chooses.
    """
    api = Detector(model, threads)
    server = litserve.LitServer(api, accelerator=device, devices=1, workers_per_device=workers)
    server.run(host="127.0.0.1", port=port, generate_client_file=False)


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
