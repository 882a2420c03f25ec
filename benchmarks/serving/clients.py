"""Clients in a closed loop: of a front model by tritonclient's own asynchronous client, of an engine by threads."""

import asyncio
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from threading import Event, Thread
from typing import Any

import numpy as np

from benchmarks.serving.windows import Finished
from engines.triton.interface import IMAGE, RESPONSE, Response
from engines.triton_client.address import Address
from engines.triton_client.answer import OUTPUTS


class FrontClients:
    """Coroutines that each send the bytes of one image file after the other to a front model."""

    def __init__(self, url: str, model: str, files: Sequence[bytes], response: Response = "rle") -> None:
        """Prepare them.

        Args:
            url: the server.
            model: name of the front model.
            files: what is sent, again and again.
            response: what the server is to send of each mask.
        """
        self._address, self._model = Address.parse(url), model
        self._parameters = {RESPONSE: response}
        self._library: Any = import_module(f"tritonclient.{self._address.protocol}")
        self._asynchronous: Any = import_module(f"tritonclient.{self._address.protocol}.aio")
        self._inputs = [self._input(data) for data in files]
        self._finished: list[Finished] = []
        self._failure: Exception | None = None

    def _input(self, data: bytes) -> Any:
        tensor = self._library.InferInput(IMAGE, [1, 1], "BYTES")
        tensor.set_data_from_numpy(np.array([[data]], dtype=object))
        return tensor

    def start(self, clients: int) -> None:
        self._finished, self._stopped = [], False
        self._thread = Thread(target=asyncio.run, args=(self._all(clients),), daemon=True)
        self._thread.start()

    async def _all(self, clients: int) -> None:
        try:
            async with self._asynchronous.InferenceServerClient(
                self._address.place, ssl=self._address.encrypted
            ) as connection:
                await asyncio.gather(*(self._one(connection, number) for number in range(clients)))
        except Exception as error:
            self._failure = error

    async def _one(self, connection: Any, place: int) -> None:
        outputs = [self._library.InferRequestedOutput(name) for name in OUTPUTS]
        while not self._stopped:
            tensor = self._inputs[place % len(self._inputs)]
            begin = time.perf_counter()
            answer = await connection.infer(self._model, [tensor], outputs=outputs, parameters=self._parameters)
            for name in OUTPUTS:
                answer.as_numpy(name)
            end = time.perf_counter()
            self._finished.append(Finished(end, end - begin))
            # Clients that begin at different images go on to different ones.
            place += 1

    def finished(self) -> Sequence[Finished]:
        if self._failure is not None:
            raise self._failure
        return list(self._finished)

    def stop(self) -> None:
        self._stopped = True
        self._thread.join()


class ThreadedClients:
    """Threads that each give one image after the other to a function."""

    def __init__(self, predict: Callable[[bytes], object], files: Sequence[bytes]) -> None:
        """Prepare them.

        Args:
            predict: decodes and predicts the bytes of an image file; several threads call it.
            files: what it is given, again and again.
        """
        self._predict, self._files = predict, files
        self._stop = Event()
        self._finished: list[Finished] = []
        self._failure: Exception | None = None

    def start(self, clients: int) -> None:
        self._finished = []
        self._stop.clear()
        self._threads = [Thread(target=self._one, args=(number,), daemon=True) for number in range(clients)]
        for thread in self._threads:
            thread.start()

    def _one(self, place: int) -> None:
        try:
            while not self._stop.is_set():
                data = self._files[place % len(self._files)]
                begin = time.perf_counter()
                self._predict(data)
                end = time.perf_counter()
                self._finished.append(Finished(end, end - begin))
                place += 1
        except Exception as error:
            self._failure = error

    def finished(self) -> Sequence[Finished]:
        if self._failure is not None:
            raise self._failure
        return list(self._finished)

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
