"""The bare network in Triton's Python backend, by any engine of this project."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.triton.served_engine import open_served, refusing
from refinemask.contract import INPUTS, InputError
from refinemask.files import UserError
from refinemask.foreign import one_line, reason
from refinemask.structures import Detections

Inputs = tuple[NDArray[np.uint8], NDArray[np.int64]]


class TritonPythonModel:
    """What Triton's Python backend calls."""

    def initialize(self, args: dict[str, str]) -> None:
        """Open the engine.

        Args:
            args: the model's place and its configuration as JSON.

        Raises:
            TritonModelException: the model cannot be served here; one line says why.
        """
        import triton_python_backend_utils as pb_utils

        self._pb = pb_utils
        with refusing(pb_utils):
            self._engine, _ = open_served(pb_utils, args)

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Run the requests that the server has put together: those of one size in one batch."""
        groups: dict[tuple[int, ...], list[int]] = defaultdict(list)
        inputs = [self._inputs(request) for request in requests]
        for index, (images, _) in enumerate(inputs):
            groups[images.shape[1:]].append(index)
        responses: list[Any] = [None] * len(requests)
        for indices in groups.values():
            for index, response in zip(indices, self._run([inputs[index] for index in indices]), strict=True):
                responses[index] = response
        return responses

    def _inputs(self, request: Any) -> Inputs:
        images, sizes = (self._pb.get_input_tensor_by_name(request, name).as_numpy() for name in INPUTS)
        return images, sizes

    def _run(self, group: Sequence[Inputs]) -> list[Any]:
        counts = [len(images) for images, _ in group]
        try:
            found = self._infer(*(np.concatenate(each) for each in zip(*group, strict=True)))
        except Exception as error:
            # One of them may be at fault.
            if len(group) > 1:
                return [response for each in group for response in self._run([each])]
            kinds = self._pb.TritonError
            kind = kinds.INVALID_ARG if isinstance(error, InputError) else kinds.INTERNAL
            refusal = kinds(one_line(error if isinstance(error, UserError) else reason(error), 2000), kind)
            return [self._pb.InferenceResponse(output_tensors=[], error=refusal)]
        ends = np.cumsum(counts).tolist()
        return [self._response(found, slice(end - count, end)) for end, count in zip(ends, counts, strict=True)]

    def _infer(self, images: NDArray[np.uint8], sizes: NDArray[np.int64]) -> Detections:
        missing = self._engine.smallest_batch - len(images)
        if missing > 0:
            images, sizes = (np.concatenate([each, np.repeat(each[-1:], missing, axis=0)]) for each in (images, sizes))
        return self._engine.infer(images, sizes)

    def _response(self, found: Detections, rows: slice) -> Any:
        own = found._asdict() | {"num_detections": found.num_detections[:, None]}
        tensors = [self._pb.Tensor(name, np.ascontiguousarray(array[rows])) for name, array in own.items()]
        return self._pb.InferenceResponse(output_tensors=tensors)
