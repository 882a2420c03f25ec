"""PNG files of arrays. Imports no PyTorch."""

import cv2
import numpy as np
from numpy.typing import NDArray

from refinemask.files import UserError


def encode_png(pixels: NDArray[np.uint8] | NDArray[np.uint16], name: str) -> bytes:
    """The PNG of a picture: [h, w, 3] RGB, or [h, w] of one channel.

    Raises:
        UserError: OpenCV makes none; the message calls the picture ``name``.
    """
    written, data = cv2.imencode(".png", pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    if not written:
        raise UserError(f"{name}: OpenCV makes no PNG of a picture of {pixels.shape[0]}x{pixels.shape[1]} pixels")
    return data.tobytes()
