"""One call in a process of its own."""

import os
import signal
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures import TimeoutError as OverdueError
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing import get_context
from typing import ParamSpec, TypeVar

from refinemask.files import UserError

Options = ParamSpec("Options")
Answer = TypeVar("Answer")


def call_in_child(
    timeout: float | None, function: Callable[Options, Answer], *args: Options.args, **options: Options.kwargs
) -> Answer:
    """Call a function in a process of its own: its memory is given back, and it ends when its time is over.

    Args:
        timeout: seconds that the call may take; None is as long as it takes.
        function: a function of a module; it, its arguments and its answer are pickled.
        args: the function's arguments.
        options: the function's keyword arguments.

    Raises:
        TimeoutError: the time was over; the process was ended, and those that it had started.
        UserError: the process ended before it answered, or the function raises one.
        Exception: what the function raises.
    """
    # In a session of its own, so that it can be ended together with the processes that it starts.
    with ProcessPoolExecutor(1, get_context("spawn"), initializer=os.setsid) as child:
        pid = child.submit(os.getpid).result()
        call = child.submit(partial(function, *args, **options))
        try:
            return call.result(timeout)
        except BrokenProcessPool as error:
            raise UserError(f"the process of {function.__name__} was ended, usually by lack of memory") from error
        except (OverdueError, KeyboardInterrupt) as error:
            if call.done():
                raise
            os.killpg(pid, signal.SIGKILL)
            raise error if isinstance(error, KeyboardInterrupt) else TimeoutError from error
