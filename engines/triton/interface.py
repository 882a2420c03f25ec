"""What a served model takes and gives: names and types, shared by the server's models and by clients."""

from typing import Literal, get_args

Response = Literal["rle", "polygons", "masks"]
"""How an answer has its masks: COCO's compressed run lengths, polygons as JSON, or a PNG of 1 bit of the image
as base64; each is text."""
RESPONSES: tuple[Response, ...] = get_args(Response)

IMAGE = "image"
"""Input BYTES [B, 1]: image files, or the same as base64 text."""
PIXELS = "pixels"
"""Input UINT8 [B, H, W, 3] RGB; a request has this one or :data:`IMAGE`."""
OUTPUTS = {
    "count": ("INT32", (1,)),
    "image_size": ("INT32", (2,)),
    "boxes": ("FP32", (-1, 4)),
    "scores": ("FP32", (-1,)),
    "labels": ("INT32", (-1,)),
    "class_names": ("BYTES", (-1,)),
    "segmentations": ("BYTES", (-1,)),
}
"""Type and shape of each output but for the batch; -1 is the largest number of objects in an image of the request."""
NO_LABEL = -1
"""Label of a place without an object."""
RESPONSE, SCORE_THRESHOLD = "response", "score_threshold"
"""Parameters of a request."""
PARAMETERS = (RESPONSE, SCORE_THRESHOLD)
CONFIG, BOUNDS, CANVASES = "config", "bounds", "canvases"
"""Parameters of a model's configuration, in JSON: of the detector, and the batches and sizes that its file accepts, as
limits or one by one."""
