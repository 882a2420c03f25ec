"""A connection to a Triton server by HTTP or gRPC: the one place that calls tritonclient."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.triton_client.address import Address
from engines.triton_client.errors import told_by_server
from refinemask.extras import needed_by
from refinemask.files import UserError

TENSOR_TYPES = {np.dtype(np.uint8): "UINT8", np.dtype(np.int64): "INT64", np.dtype(object): "BYTES"}
"""Triton's names of the types that this project sends."""
Parameter = str | float | bool


class Connection:
    """One connection, which one thread uses."""

    def __init__(self, address: Address, timeout: float) -> None:
        """Prepare it; the first request connects.

        Args:
            address: the server.
            timeout: seconds to wait for a connection, and for an answer.

        Raises:
            UserError: tritonclient is missing.
        """
        self.address, self._timeout = address, timeout
        with needed_by(f"{address}"):
            # The two modules have the same names.
            self._library = import_module(f"tritonclient.{address.protocol}")
        is_http = address.protocol == "http"
        times = {"connection_timeout": timeout, "network_timeout": timeout} if is_http else {}
        with self._errors():
            self._client = self._library.InferenceServerClient(address.place, ssl=address.encrypted, **times)
        self._each: dict[str, Any] = {} if is_http else {"client_timeout": timeout}
        self._as_json: dict[str, Any] = {} if is_http else {"as_json": True}

    def server(self) -> str:
        """Name and version of the server.

        Raises:
            ServerError: the server cannot be reached.
        """
        with self._errors():
            metadata = self._client.get_server_metadata(**self._as_json, **self._each)
        return f"{metadata.get('name')} {metadata.get('version')}"

    def models(self) -> list[str]:
        """Names of the models that are ready.

        Raises:
            ServerError: the server cannot be reached.
        """
        with self._errors():
            index = self._client.get_model_repository_index(**self._as_json, **self._each)
        listed = index if isinstance(index, list) else index.get("models", [])
        return [each["name"] for each in listed if each.get("state") == "READY"]

    def config(self, model: str) -> dict[str, Any]:
        """The configuration of a model as the server has it.

        Raises:
            UserError: the server cannot be reached, or has no such model.
        """
        with self._errors():
            config = self._client.get_model_config(model, **self._as_json, **self._each)
        return config.get("config", config)

    def counts(self, model: str) -> tuple[int, int]:
        """How many images a model has computed, and in how many batches.

        Raises:
            UserError: the server cannot be reached, or has no such model.
        """
        with self._errors():
            answer = self._client.get_inference_statistics(model, **self._as_json, **self._each)
        # What is 0 may be left out.
        [counted] = answer["model_stats"]
        return int(counted.get("inference_count", 0)), int(counted.get("execution_count", 0))

    def infer(
        self,
        model: str,
        inputs: Mapping[str, NDArray[Any]],
        outputs: Sequence[str],
        parameters: Mapping[str, Parameter] | None = None,
    ) -> dict[str, NDArray[Any]]:
        """Send one request, and wait for its answer.

        Args:
            model: name of the model.
            inputs: arrays by name; BYTES are arrays of objects.
            outputs: names of the outputs to send back.
            parameters: those of the request.

        Returns:
            The outputs by name.

        Raises:
            RefusedRequestError: the server refused the request.
            ServerError: no answer came.
        """
        tensors = []
        for name, array in inputs.items():
            tensor = self._library.InferInput(name, list(array.shape), TENSOR_TYPES[array.dtype])
            tensor.set_data_from_numpy(array)
            tensors.append(tensor)
        wanted = [self._library.InferRequestedOutput(name) for name in outputs]
        with self._errors():
            answer = self._client.infer(model, tensors, outputs=wanted, parameters=dict(parameters or {}), **self._each)
            return {name: answer.as_numpy(name) for name in outputs}

    def close(self) -> None:
        """End the connection, and what its thread keeps for connections of HTTP."""
        self._client.close()
        if self.address.protocol == "http":
            # gevent's loop of this thread, which has files open and would outlive the thread.
            import_module("gevent").get_hub().destroy(destroy_loop=True)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except UserError:
            raise
        # Sockets, HTTP, gRPC and tritonclient share no class of errors.
        except Exception as error:
            raise told_by_server(self.address, error, self._timeout) from error
