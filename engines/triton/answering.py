"""Requests that came together, answered by one pass through the pipeline. Knows nothing of Triton. Imports no PyTorch.

Batches form over requests. An image that fails fails its own request.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import islice

from engines.base import Engine
from engines.triton.answer import Found, render
from engines.triton.question import AskedImage
from refinemask.contract import InputError
from refinemask.files import UserError
from refinemask.foreign import reason
from refinemask.streaming.plan import StreamOptions
from refinemask.streaming.stream import stream
from refinemask.streaming.work import Result

Answer = Sequence[Found] | Exception
"""What was found in each image of a request; or an InputError if one of them is at fault, or what else went wrong."""


def answer(engine: Engine, questions: Sequence[Sequence[AskedImage]], batch_size: int | None = None) -> list[Answer]:
    """Answer each of some requests.

    Args:
        engine: the engine.
        questions: the images of each request, at least one.
        batch_size: images that go through the network together; None is what the engine prefers.

    Returns:
        The answer of each request, in order.
    """
    try:
        return _together(engine, questions, batch_size)
    except Exception as error:
        # It ends a pass, and may be the fault of one request alone: memory that was not enough for all of them.
        if len(questions) == 1:
            return [RuntimeError(f"the server failed: {type(error).__name__}: {reason(error)}")]
        return [found for question in questions for found in answer(engine, [question], batch_size)]


def _together(engine: Engine, questions: Sequence[Sequence[AskedImage]], batch_size: int | None) -> list[Answer]:
    images = [image for question in questions for image in question]
    pipeline = stream(engine, images, StreamOptions(batch_size=batch_size), render=render)
    with closing(pipeline.results()) as results:
        return [_answer_of(islice(results, len(question))) for question in questions]


def _answer_of(results: Iterator[Result[Found]]) -> Answer:
    found: list[Found] = []
    first_error: Exception | None = None
    for result in results:
        if result.rendered is not None:
            found.append(result.rendered)
        elif first_error is None:
            assert result.error is not None
            first_error = _error_of(result.error, was_read=result.was_read)
    return found if first_error is None else first_error


def _error_of(error: UserError, *, was_read: bool) -> Exception:
    """An InputError where the image is at fault, and not what computes."""
    if isinstance(error, InputError) or was_read:
        return error
    return InputError(str(error))
