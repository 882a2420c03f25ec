"""The model that clients talk to: image files or pixels in, boxes and masks of the whole image out.

Triton's Python backend runs it: each instance is a process of its own, and ``1/model.py`` of a repository imports
:class:`TritonPythonModel` from here.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from engines.base import Engine
from engines.triton.answer import arrays
from engines.triton.answering import Answer, answer
from engines.triton.interface import IMAGE, PIXELS, RESPONSES
from engines.triton.question import AskedImage, Wanted, ask
from engines.triton.served_engine import open_served, refusing
from refinemask.contract import InputError
from refinemask.files import UserError
from refinemask.foreign import one_line


class TritonPythonModel:
    """What Triton's Python backend calls."""

    def initialize(self, args: dict[str, str]) -> None:
        """Open the engine, and compute once.

        Args:
            args: the model's place and its configuration as JSON.

        Raises:
            TritonModelException: the model cannot be served here; one line says why.
        """
        import triton_python_backend_utils as pb_utils

        self._pb = pb_utils
        with refusing(pb_utils):
            self._engine, settings = open_served(pb_utils, args)
            self._batch_size = settings.batch_size
            threshold = self._engine.config.box_head.score_threshold
            self._default = Wanted(response=settings.response, score_threshold=threshold)
            warm_up(self._engine, self._batch_size)

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answer the requests that the server has put together."""
        responses: list[Any] = [None] * len(requests)
        questions: dict[int, list[AskedImage]] = {}
        for index, request in enumerate(requests):
            if request.is_cancelled():
                responses[index] = self._refusal("the request was cancelled", self._pb.TritonError.CANCELLED)
                continue
            try:
                questions[index] = self._question(request)
            except InputError as error:
                responses[index] = self._response(error)
        if questions:
            answers = answer(self._engine, list(questions.values()), self._batch_size)
            for index, each in zip(questions, answers, strict=True):
                responses[index] = self._response(each)
        return responses

    def _question(self, request: Any) -> list[AskedImage]:
        tensors = (self._pb.get_input_tensor_by_name(request, name) for name in (IMAGE, PIXELS))
        image, pixels = (None if tensor is None else tensor.as_numpy() for tensor in tensors)
        return ask(image, pixels, request.parameters(), self._default)

    def _response(self, answered: Answer) -> Any:
        if isinstance(answered, Exception):
            kinds = self._pb.TritonError
            return self._refusal(
                str(answered), kinds.INVALID_ARG if isinstance(answered, InputError) else kinds.INTERNAL
            )
        tensors = [self._pb.Tensor(name, array) for name, array in arrays(answered).items()]
        return self._pb.InferenceResponse(output_tensors=tensors)

    def _refusal(self, message: str, kind: int) -> Any:
        return self._pb.InferenceResponse(output_tensors=[], error=self._pb.TritonError(one_line(message, 2000), kind))


def warm_up(engine: Engine, batch_size: int | None) -> None:
    """Compute a full batch of black images, so that the first request does not wait for what is done once.

    Raises:
        UserError: the engine does not take such batches, or fails.
    """
    side = engine.config.preprocessing.short_side
    black = np.zeros((side, side, 3), np.uint8)
    wanted = Wanted(response=RESPONSES[0], score_threshold=1)
    image = AskedImage(name="the image of the warm-up", data=black, wanted=wanted)
    [answered] = answer(engine, [[image] * (batch_size or engine.preferred_batch)], batch_size)
    if isinstance(answered, Exception):
        raise UserError(f"{engine}: cannot be served: {answered}")
