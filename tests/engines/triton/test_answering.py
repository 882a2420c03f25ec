"""One pass for many requests, and what becomes of the others when one fails."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import engines
from engines.base import Engine
from engines.triton.answering import answer
from engines.triton.question import AskedImage, Wanted
from refinemask.contract import InputError
from refinemask.files import UserError

WANTED = Wanted(response="rle", score_threshold=0.7)


@pytest.fixture
def engine(tiny_files: tuple[Path, Path]) -> Engine:
    return engines.load(tiny_files[1], threads=1)


def asked(seed: int, height: int = 60, width: int = 90) -> AskedImage:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return AskedImage(name=f"image {seed}", data=pixels, wanted=WANTED)


def bad() -> AskedImage:
    return AskedImage(name="the bad one", data=b"\xff\xd8 no picture", wanted=WANTED)


def counts(answered: Any) -> list[list[bytes]]:
    return [list(each.segmentations) for each in answered]


def test_each_request_gets_its_own(engine: Engine) -> None:
    questions = [[asked(0)], [asked(1, 40, 70), asked(2)], [asked(3)]]
    found = answer(engine, questions, 2)
    expected = engine.predict([image.data for question in questions for image in question])  # type: ignore[misc]
    strings = [[rle["counts"] for rle in each.rles] for each in expected]
    assert [string for answered in found for string in counts(answered)] == strings
    assert any(strings)


def test_a_bad_image_fails_its_own_request(engine: Engine) -> None:
    found = answer(engine, [[asked(0)], [asked(1), bad(), asked(2)], [asked(3)]], 4)
    assert isinstance(found[1], InputError)
    assert str(found[1]).startswith("the bad one: ")
    assert [counts(found[0]), counts(found[2])] == [counts(answer(engine, [[asked(n)]])[0]) for n in (0, 3)]


@pytest.mark.parametrize("error", [MemoryError("no memory"), ZeroDivisionError("a fault")])
def test_what_ends_a_pass_fails_the_request_at_fault_alone(
    error: Exception, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    detect = engine.detect

    def fails(images: np.ndarray, image_sizes: np.ndarray, *rest: Any, **more: Any) -> Any:
        if (image_sizes[:, 0] < 40).any():
            raise error
        return detect(images, image_sizes, *rest, **more)

    monkeypatch.setattr(engine, "detect", fails)
    found = answer(engine, [[asked(0)], [asked(1, 20, 120)], [asked(2)]], 4)
    assert isinstance(found[1], RuntimeError)
    assert type(error).__name__ in str(found[1])
    assert not isinstance(found[0], Exception)
    assert not isinstance(found[2], Exception)


def test_an_engine_that_fails_is_not_the_clients_fault(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*rest: Any, **more: Any) -> Any:
        raise UserError("the engine fails on these images")

    monkeypatch.setattr(engine, "detect", fails)
    [found] = answer(engine, [[asked(0)]])
    assert isinstance(found, UserError)
    assert not isinstance(found, InputError)


def test_an_image_that_does_not_fit_is_the_clients_fault(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(image_shapes: Any) -> None:
        raise InputError("an image of 60x90 does not fit")

    monkeypatch.setattr(engine, "canvas", refuses)
    [found] = answer(engine, [[asked(0)]])
    assert isinstance(found, InputError)
    assert str(found) == "image 0: an image of 60x90 does not fit"
