"""A bare network on a Triton server as an engine: preprocessing and pasting stay here."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.base import Engine
from engines.triton_client.client import REQUESTS, TIMEOUT
from engines.triton_client.connection import Connection
from engines.triton_client.connections import Connections
from engines.triton_client.errors import RefusedRequestError
from engines.triton_client.served import find_network
from refinemask.contract import INPUTS, OUTPUTS
from refinemask.structures import Detections


class NetworkEngine(Engine):
    """Padded batches go to the server as uint8, and the network's own outputs come back.

    Everything that takes an engine works with it. Masks travel as the network made them, so answers are large:
    :class:`engines.triton_client.TritonClient` sends files, and gets run lengths.
    """

    def __init__(
        self, url: str, model: str | None = None, *, requests: int = REQUESTS, timeout: float = TIMEOUT
    ) -> None:
        """Connect, and ask the server what it serves.

        Args:
            url: ``http://HOST:PORT`` or ``grpc://HOST:PORT``.
            model: name of the model; None is the only one of this project that is a bare network.
            requests: batches in flight at the same time.
            timeout: seconds to wait for an answer.

        Raises:
            UserError: an argument is impossible, no such server or model is there, or tritonclient is missing.
        """
        self._connections = Connections(url, timeout, requests)
        self._requests = requests
        self.served = self._connections.first(find_network, model)
        """What the server says of the model."""
        settings = self.served.settings
        super().__init__(
            name=f"Triton, {settings.backend}",
            config=self.served.file_config,
            precision=settings.precision,
            device=settings.device,
            bounds=self.served.request_bounds,
            path=f"{self._connections.address}/{self.served.name}",
        )
        if settings.backend == "pytorch":
            # PyTorch makes the network for the number of detections.
            self.config = self.served.config
            return
        # A server's own backend knows nothing of it.
        self.select(self.served.selection)
        self.config = replace(self.config, preprocessing=self.served.config.preprocessing)

    @property
    def concurrency(self) -> int:
        return self._requests

    def upload(self, images: np.ndarray, image_sizes: np.ndarray) -> dict[str, NDArray[Any]]:
        return dict(zip(INPUTS, (images, image_sizes), strict=True))

    def run(self, inputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        try:
            return self._connections.do(Connection.infer, self.served.name, inputs, OUTPUTS)
        except RefusedRequestError as error:
            raise RefusedRequestError(f"{self} fails on these images: {error}") from error

    def download(self, outputs: dict[str, NDArray[Any]]) -> Detections:
        found = Detections(*(outputs[name] for name in OUTPUTS))
        # A server wants a dimension behind the batch.
        return found._replace(num_detections=found.num_detections.reshape(-1))

    def close(self) -> None:
        """End the connections."""
        self._connections.close()
