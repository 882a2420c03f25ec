"""What ``Engine.predict`` finds in the environment of the Triton server, without the server.

Another environment may have another OpenCV or ONNX Runtime, whose last bits differ.
"""

import base64
import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scripts.triton_server import ROOT
from tests.support.triton_server import require_server, variables_of

SCRIPT = """
import base64, json, sys
import engines
from refinemask.config import with_window
from refinemask.window import parse_window

asked = json.load(sys.stdin)
engine = engines.load(asked["model"], **asked["options"])
if asked["window"]:
    engine.config = with_window(engine.config, parse_window(asked["window"].split()))
packed = lambda array: base64.b64encode(array.tobytes()).decode()
print(json.dumps([
    {
        "size": [found.height, found.width],
        "boxes": packed(found.boxes),
        "scores": packed(found.scores),
        "labels": found.labels.tolist(),
        "class_names": found.class_names,
        "counts": [rle["counts"].decode() for rle in found.rles],
        "polygons": [[part.ravel().tolist() for part in parts] for parts in found.polygons()],
    }
    for found in engine.predict(asked["images"])
]))
"""


@dataclass(frozen=True, kw_only=True)
class Reference:
    """A prediction; see :class:`refinemask.prediction.Prediction`."""

    size: list[int]
    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: list[int]
    class_names: list[str]
    counts: list[bytes]
    polygons: list[list[list[int]]]


def predicted_there(model: Path, images: Sequence[Path], window: str = "", **options: Any) -> list[Reference]:
    """Predict image files in the server's environment."""
    asked = {"model": str(model), "images": [str(path) for path in images], "options": options, "window": window}
    found = require_server()
    done = subprocess.run(
        [str(found / "bin" / "python"), "-c", SCRIPT],
        input=json.dumps(asked),
        cwd=ROOT,
        env=variables_of(found),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return [_reference(each) for each in json.loads(done.stdout)]


def _reference(found: dict[str, Any]) -> Reference:
    boxes, scores = (np.frombuffer(base64.b64decode(found[name]), np.float32) for name in ("boxes", "scores"))
    counts = [text.encode() for text in found["counts"]]
    return Reference(**found | {"boxes": boxes.reshape(-1, 4), "scores": scores, "counts": counts})
