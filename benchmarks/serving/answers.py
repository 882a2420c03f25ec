"""How many bytes an answer has."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.serving.report import AnswerReport
from engines import Engine
from engines.triton.interface import IMAGE, RESPONSE, RESPONSES
from engines.triton_client.answer import OUTPUTS
from engines.triton_client.connection import Connection
from engines.triton_client.network import NetworkEngine
from refinemask.data.images import decode_image
from refinemask.data.transforms import preprocess

LENGTH = 4
"""Bytes before each text of a tensor, which say how long it is."""


def measure_answers(
    connection: Connection, model: str, files: Sequence[bytes], network: NetworkEngine | None
) -> tuple[list[AnswerReport], float]:
    """The bytes of each kind of answer, and how many objects an image has on average.

    Args:
        connection: the server.
        model: name of the front model.
        files: the image files.
        network: the bare network, if it is served.
    """
    reports, counts, pixels = [], [], []
    for response in RESPONSES:
        sizes = []
        for data in files:
            sent = {IMAGE: np.array([[data]], dtype=object)}
            answer = connection.infer(model, sent, OUTPUTS, {RESPONSE: response})
            sizes.append(tensor_bytes(answer))
            counts.append(int(answer["count"][0, 0]))
            pixels.append(int(answer["count"][0, 0]) * int(answer["image_size"].prod()))
        reports.append(_report(response, sizes))
    if network is not None:
        reports.append(_report("network", [_of_network(network, data) for data in files]))
    reports.append(_report("float masks", [4 * each for each in pixels[: len(files)]]))
    return reports, float(np.mean(counts))


def tensor_bytes(arrays: Mapping[str, NDArray[Any]]) -> int:
    """Bytes of the content of tensors, as HTTP and gRPC carry it; the names and shapes beside it are left out."""
    return sum(
        sum(LENGTH + len(text) for text in array.ravel().tolist()) if array.dtype == object else array.nbytes
        for array in arrays.values()
    )


def _of_network(network: Engine, data: bytes) -> int:
    pixels = decode_image("image", data, network.config.preprocessing.window)
    batch = preprocess([pixels], network.config.preprocessing, network.canvas([pixels.shape[:2]]))
    return sum(array.nbytes for array in network.infer(batch.images, batch.image_sizes))


def _report(response: str, sizes: Sequence[int]) -> AnswerReport:
    return AnswerReport(response=response, mean=round(float(np.mean(sizes)), 1), largest=max(sizes))
