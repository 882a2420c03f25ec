"""Run an exported file on a machine without PyTorch: with this package, then with NumPy and ONNX Runtime alone.

    python examples/export_and_compare.py                   # where PyTorch is: writes the exported file
    python examples/run_without_pytorch.py                  # here: seconds
    python examples/run_without_pytorch.py OUT --model MODEL.onnx --image PICTURE

Needs the extra cpu.
"""

import sys
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import tyro
from numpy.typing import NDArray

import engines
from refinemask.bundled import NUCLEI
from refinemask.data.images import read_image


def main(
    output: tyro.conf.Positional[Path] = Path("out/run_without_pytorch"),
    model: Path = Path("out/export_and_compare/refinemask-nuclei.onnx"),
    image: Path = NUCLEI / "images" / "0005.png",
) -> None:
    """Predict a picture twice, and compare.

    Args:
        output: folder for masks.npz.
        model: exported file.
        image: picture.
    """
    if not model.is_file():
        raise SystemExit(f"{model}: no such file; python examples/export_and_compare.py writes it, or give --model")
    engine = engines.load(model)
    [prediction] = engine.predict([image])
    output.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(output / "masks.npz", masks=prediction.masks(), scores=prediction.scores)
    print(f"{image.name}: {len(prediction)} objects, their masks are in {output / 'masks.npz'}")

    side = engine.config.preprocessing
    boxes = boxes_by_hand(model, read_image(image, side.window), side.short_side, side.long_side)
    difference = np.abs(boxes - prediction.boxes).max(initial=0)
    print(f"by hand: {len(boxes)} objects, largest difference of a box {difference:.2g} pixels")

    assert "torch" not in sys.modules, "something imported PyTorch"
    print("PyTorch was not imported")


def boxes_by_hand(model: Path, image: NDArray[np.uint8], short_side: int, long_side: int) -> NDArray[np.float32]:
    """The boxes (x1, y1, x2, y2) of a picture [h, w, 3] RGB, without this package."""
    height, width = image.shape[:2]
    scale = min(short_side / min(height, width), long_side / max(height, width))
    resized = cv2.resize(image, (int(width * scale + 0.5), int(height * scale + 0.5)))
    valid = resized.shape[:2]
    # Bytes in, no normalisation: it is part of the network. Zeros fill both sides up to multiples of 32.
    images = np.zeros((1, 3, *(-(-side // 32) * 32 for side in valid)), np.uint8)
    images[0, :, : valid[0], : valid[1]] = resized.transpose(2, 0, 1)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    outputs = session.run(
        ["boxes", "num_detections"], {"images": images, "image_sizes": np.array([valid], dtype=np.int64)}
    )
    boxes, count = outputs[0][0], outputs[1][0]
    factors = np.array([valid[1] / width, valid[0] / height] * 2, dtype=np.float32)
    return boxes[:count] / factors


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
