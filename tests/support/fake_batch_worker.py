"""A worker process of batch jobs whose references say what happens: ``python -m tests.support.fake_batch_worker …``.

``grey:9`` is an image of brightness 9, in which one object of that score is found. At ``signal:11`` the process sends
itself that signal, and at ``once:11:/a/file`` unless the file is there. ``exit:3`` ends it, ``hang`` never comes back,
``memory:500`` takes so many MiB, ``engine:9`` is an image on which the engine fails, and anything else cannot be read.
``SAID`` is printed before each, ``LIMIT_MIB`` bounds the address space, and ``START`` is what happens first.
"""

import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import engines
from refinemask.batch import child, referenced
from refinemask.files import UserError
from tests.support.bright_box import BrightBox

FAULTY = 77
"""Brightness of the images on which the engine fails."""


class FaultyBox(BrightBox):
    """The engine, which fails as a runtime does."""

    def detect(self, images: np.ndarray, *args: Any, **options: Any) -> Any:
        if images[0, 0, 0, 0] == FAULTY:
            try:
                raise RuntimeError("the device is lost")
            except RuntimeError as error:
                raise UserError(f"fails on these images: {error}") from error
        return super().detect(images, *args, **options)


def grey(brightness: str) -> bytes:
    """An image file."""
    return cv2.imencode(".png", np.full((20, 30, 3), int(brightness), np.uint8))[1].tobytes()


def once(what: str) -> bytes:
    """What happens the first time; later it is an image."""
    number, _, path = what.partition(":")
    if not Path(path).exists():
        Path(path).touch()
        os.kill(os.getpid(), int(number))
    return grey("50")


def hang(_: str) -> bytes:
    """Wait for ever."""
    while True:
        time.sleep(60)


def memory(mebibytes: str) -> bytes:
    """Take memory."""
    return grey(str(np.ones(int(mebibytes) << 20, np.uint8)[-1]))


def refuse(_: str) -> bytes:
    """What a model that cannot be opened does."""
    raise UserError("the model is no model; give another one")


ACTIONS: dict[str, Callable[[str], Any]] = {
    "grey": grey,
    "signal": lambda number: os.kill(os.getpid(), int(number)),
    "once": once,
    "exit": lambda code: os._exit(int(code)),
    "hang": hang,
    "memory": memory,
    "engine": lambda _: grey(str(FAULTY)),
    "refuse": refuse,
}


def act(reference: str) -> Any:
    """Do what a reference says."""
    if "SAID" in os.environ:
        print(os.environ["SAID"], flush=True)
    kind, _, what = reference.partition(":")
    if kind not in ACTIONS:
        raise UserError(f"{reference}: cannot be read: no such file")
    return ACTIONS[kind](what)


def load(*args: object, **options: object) -> FaultyBox:
    """Open the model."""
    if "START" in os.environ:
        act(os.environ["START"])
    return FaultyBox()


if __name__ == "__main__":
    if "LIMIT_MIB" in os.environ:
        resource.setrlimit(resource.RLIMIT_AS, 2 * (int(os.environ["LIMIT_MIB"]) << 20,))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engines, "load", load)
        patch.setattr(referenced, "read_bytes", act)
        code = child.main()
    sys.stderr.flush()
    os._exit(code)
