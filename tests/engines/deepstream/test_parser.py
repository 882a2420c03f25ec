"""The parser for nvinfer gives each object its box and its mask, rows and columns as nvinfer reads them."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.engines.deepstream.conftest import Parse

CLASS, SCORE, LEFT, TOP, WIDTH, HEIGHT, MASK_WIDTH, MASK_HEIGHT, MASK_SIZE = range(9)


@pytest.fixture
def outputs() -> dict[str, NDArray[Any]]:
    """Four places, three of them filled; masks of 3 rows and 5 columns, every point another number."""
    return {
        "scores": np.array([0.9, 0.75, 0.6, 0], np.float32),
        "boxes": np.array([[10, 20, 110, 50], [1, 2, 4, 9], [5.5, 6, 7.25, 60], [0, 0, 0, 0]], np.float32),
        "labels": np.array([2, 0, 1, 0], np.int64),
        "masks": np.arange(4 * 3 * 5, dtype=np.float32).reshape(4, 3, 5),
    }


def test_masks_that_are_no_squares_keep_their_rows(parse: Parse, outputs: dict[str, NDArray[Any]]) -> None:
    found = parse(outputs)
    assert found is not None
    objects, masks = found
    assert objects[:, CLASS].tolist() == [2, 0, 1]
    assert objects[:, SCORE].tolist() == outputs["scores"][:3].tolist()
    assert objects[:, LEFT : HEIGHT + 1].tolist() == [[10, 20, 100, 30], [1, 2, 3, 7], [5.5, 6, 1.75, 54]]
    assert (objects[:, [MASK_WIDTH, MASK_HEIGHT, MASK_SIZE]] == [5, 3, 4 * 15]).all()
    for (row, memory), given in zip(zip(objects, masks, strict=True), outputs["masks"], strict=False):
        # nvinfer and nvdsosd read the value of column x and row y at y * mask_width + x.
        read = [[memory[y * int(row[MASK_WIDTH]) + x] for x in range(5)] for y in range(3)]
        assert read == given.tolist()


def test_labels_may_be_int32(parse: Parse, outputs: dict[str, NDArray[Any]]) -> None:
    found = parse(outputs | {"labels": outputs["labels"].astype(np.int32)})
    assert found is not None
    assert found[0][:, CLASS].tolist() == [2, 0, 1]


def test_the_threshold_and_the_number_of_classes_hold(parse: Parse, outputs: dict[str, NDArray[Any]]) -> None:
    for classes, threshold, expected in ((80, 0.7, [2, 0]), (80, 0.75, [2, 0]), (2, 0.5, [0, 1]), (80, 0.95, [])):
        found = parse(outputs, classes=classes, threshold=threshold)
        assert found is not None
        assert found[0][:, CLASS].tolist() == expected


@pytest.mark.parametrize("box", [[5, 5, 5, 9], [5, 5, 9, 4], [0, 0, np.nan, 1], [0, 0, np.inf, 1]])
def test_a_box_without_an_area_is_no_object(parse: Parse, outputs: dict[str, NDArray[Any]], box: list[float]) -> None:
    outputs["boxes"][0] = box
    outputs["labels"][1] = -1
    found = parse(outputs)
    assert found is not None
    assert found[0][:, CLASS].tolist() == [1]
    assert found[1][0].tolist() == outputs["masks"][2].ravel().tolist()


@pytest.mark.parametrize(
    "change",
    [
        {"masks": np.zeros((4, 15), np.float32)},
        {"masks": np.zeros((3, 3, 5), np.float32)},
        {"masks": np.zeros((4, 3, 5), np.float16)},
        {"boxes": np.zeros((4, 5), np.float32)},
        {"labels": np.zeros(4, np.float32)},
        {"labels": np.zeros(3, np.int64)},
    ],
    ids=["flat masks", "fewer masks", "half masks", "wide boxes", "float labels", "fewer labels"],
)
def test_other_outputs_are_refused(
    parse: Parse,
    outputs: dict[str, NDArray[Any]],
    change: dict[str, NDArray[Any]],
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert parse(outputs | change) is None
    assert "expected the network that python -m engines.deepstream wrote" in capfd.readouterr().err


@pytest.mark.parametrize("name", ["boxes", "scores", "labels", "masks"])
def test_a_missing_output_is_named(
    parse: Parse, outputs: dict[str, NDArray[Any]], name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    del outputs[name]
    assert parse(outputs) is None
    assert f"output '{name}' is missing" in capfd.readouterr().err
