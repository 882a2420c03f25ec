"""The client of a Triton server that serves a model of ``engines.triton``.

    from engines.triton_client import TritonClient

    with TritonClient("grpc://localhost:8001") as client:
        for result in client.predict(["street.jpg", "yard.jpg"]):
            print(result.class_names, result.scores, result.masks().shape)

Importing this package does not load tritonclient.
"""

from engines.triton_client.client import TritonClient
from engines.triton_client.errors import RefusedRequestError, ServerError
from engines.triton_client.network import NetworkEngine

__all__ = ["NetworkEngine", "RefusedRequestError", "ServerError", "TritonClient"]
