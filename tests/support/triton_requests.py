"""Requests to a Triton server over HTTP, without a client's library."""

import base64
import json
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.support.triton_server import Server

Input = dict[str, Any]
TYPES: dict[str, Any] = {"FP32": np.float32, "INT32": np.int32, "INT64": np.int64, "BYTES": object}


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What the server answers."""

    status: int
    error: str
    """The error; empty if there is none."""
    outputs: Mapping[str, NDArray[Any]]
    """The outputs by name; texts are bytes."""


def image_input(*files: bytes) -> Input:
    """Image files as base64 text."""
    return text_input(*(base64.b64encode(data).decode() for data in files))


def text_input(*texts: str) -> Input:
    """Any text where images are expected."""
    return {"name": "image", "datatype": "BYTES", "shape": [len(texts), 1], "data": list(texts)}


def array_input(name: str, datatype: str, array: NDArray[Any]) -> Input:
    """An array."""
    return {"name": name, "datatype": datatype, "shape": list(array.shape), "data": array.ravel().tolist()}


def ask(server: Server, model: str, inputs: Sequence[Input], **parameters: object) -> Reply:
    """Send a request as JSON, and read the answer, which is JSON, too."""
    body = json.dumps({"inputs": list(inputs), "parameters": parameters}).encode()
    return post(server, model, body)


def post(server: Server, model: str, body: bytes) -> Reply:
    """Send any bytes as a request."""
    request = urllib.request.Request(server.url(f"models/{model}/infer"), body)
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            content = json.loads(response.read())
    except urllib.error.HTTPError as error:
        return Reply(status=error.code, error=json.loads(error.read())["error"], outputs={})
    return Reply(status=200, error="", outputs={each["name"]: _array(each) for each in content["outputs"]})


def _array(output: Mapping[str, Any]) -> NDArray[Any]:
    values = [each.encode() for each in output["data"]] if output["datatype"] == "BYTES" else output["data"]
    return np.array(values, TYPES[output["datatype"]]).reshape(output["shape"])
