"""Answers of a front model, as its own code makes them, are the predictions again."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engines.triton.answer import arrays, found_in
from engines.triton.interface import RESPONSES, Response
from engines.triton.question import Wanted
from engines.triton_client.answer import OUTPUTS, prediction_of
from refinemask.config import ModelConfig
from refinemask.masks import RLE
from refinemask.outputs import OutputError
from refinemask.prediction import Prediction
from refinemask.recipes import RECIPES
from tests.support.same_predictions import content

CONFIG: ModelConfig = next(iter(RECIPES.values())).model
HEIGHT, WIDTH = 37, 53


def encode(mask: NDArray[np.bool_]) -> RLE:
    from pycocotools import mask as coco_mask

    return coco_mask.encode(np.asfortranarray(mask, np.uint8))


def masks() -> NDArray[np.bool_]:
    """Noise, which has parts that touch at corners and holes; all, nothing, a corner, a ring."""
    random = np.random.default_rng(5)
    noise = random.random((3, HEIGHT, WIDTH)) < 0.5
    ring = np.zeros((HEIGHT, WIDTH), bool)
    ring[5:20, 7:30] = True
    ring[8:12, 10:20] = False
    corner = np.zeros((HEIGHT, WIDTH), bool)
    corner[0, 0] = True
    return np.stack([*noise, np.ones_like(ring), np.zeros_like(ring), corner, ring])


def a_prediction() -> Prediction:
    found = masks()
    random = np.random.default_rng(6)
    count = len(found)
    return Prediction(
        path=None,
        height=HEIGHT,
        width=WIDTH,
        boxes=random.random((count, 4), np.float32),
        scores=np.sort(random.random(count, np.float32))[::-1],
        labels=random.integers(0, CONFIG.num_classes, count),
        rles=[encode(mask) for mask in found],
        config=CONFIG,
    )


def answer_to(prediction: Prediction, response: Response) -> dict[str, NDArray[Any]]:
    found = found_in(prediction, Wanted(response=response, score_threshold=0))
    return {name: array for name, array in arrays([found]).items() if name in OUTPUTS}


@pytest.mark.parametrize("response", RESPONSES)
def test_an_answer_is_the_prediction_again(response: Response) -> None:
    prediction = a_prediction()
    again = prediction_of(answer_to(prediction, response), response, CONFIG, None)
    assert content(again) == content(prediction)


@pytest.mark.parametrize("response", RESPONSES)
def test_an_answer_without_objects_is_an_empty_prediction(response: Response) -> None:
    nothing = a_prediction().select(min_score=2)
    again = prediction_of(answer_to(nothing, response), response, CONFIG, None)
    assert (len(again), again.boxes.shape, again.height, again.width) == (0, (0, 4), HEIGHT, WIDTH)


def first(name: str, value: object) -> Callable[[dict[str, NDArray[Any]]], None]:
    def change(answer: dict[str, NDArray[Any]]) -> None:
        answer[name].reshape(-1)[0] = value

    return change


def without(name: str) -> Callable[[dict[str, NDArray[Any]]], None]:
    return lambda answer: answer.update({name: None})  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("response", "change", "expected"),
    [
        ("rle", first("segmentations", b"not run lengths"), "do not fill"),
        ("rle", first("segmentations", encode(np.ones((HEIGHT, WIDTH + 1), bool))["counts"]), "do not fill"),
        ("polygons", first("segmentations", b"{"), "no JSON list"),
        ("polygons", first("segmentations", b"[[1,2,3]]"), "three points"),
        ("polygons", first("segmentations", b"[[1,2,3,4,5,NaN]]"), "three points"),
        ("masks", first("segmentations", b""), "no PNG"),
        ("masks", first("segmentations", b"\x89PNGX"), "no base64"),
        ("masks", first("segmentations", b"iVBORw=="), "no PNG"),
        ("rle", first("count", 99), "99 of 7 objects"),
        ("rle", first("count", -1), "-1 of 7 objects"),
        ("rle", first("image_size", 0), "0x53 pixels"),
        ("rle", first("labels", CONFIG.num_classes), "labels"),
        ("rle", first("boxes", np.nan), "not finite"),
        ("rle", without("scores"), "missing"),
        ("rle", without("segmentations"), "missing"),
    ],
)
def test_a_wrong_answer_is_refused(
    response: Response, change: Callable[[dict[str, NDArray[Any]]], None], expected: str
) -> None:
    answer = answer_to(a_prediction(), response)
    change(answer)
    with pytest.raises(OutputError, match=expected):
        prediction_of(answer, response, CONFIG, None)
