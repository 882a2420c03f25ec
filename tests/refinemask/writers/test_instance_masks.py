"""Our own reader finds the objects of the masks again."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from refinemask.config import ModelConfig
from refinemask.data.reading import read_annotations
from refinemask.files import UserError
from refinemask.masks import decode, segmentation_rle
from refinemask.writers.instance_masks import InstanceMasks
from tests.support.other_formats import picture
from tests.support.written import HEIGHT, WIDTH, boxes_of, prediction, put, still

MASKS = boxes_of((2, 2, 12, 12), (8, 8, 20, 18), (0, 0, 5, 20))
FOUND = prediction(MASKS, labels=[1, 1, 0])


def test_the_reader_finds_the_objects_again(tmp_path: Path) -> None:
    images = [picture(tmp_path / "images" / name, HEIGHT, WIDTH) for name in ("a.jpg", "street/b.jpg")]
    with InstanceMasks(tmp_path / "masks") as writer:
        put(writer, still(images[0], "a"), FOUND)
        put(writer, still(images[1], "street/b"), prediction(boxes_of()))
    dataset = read_annotations(tmp_path / "masks")
    assert dataset.class_names == ("cat", "dog")
    assert [image.file_name for image in dataset.images] == ["a.jpg", "street/b.jpg"]
    assert [len(objects) for objects in dataset.annotations.values()] == [3, 0]
    objects = dataset.annotations[1]
    assert [dataset.categories[each.category_id] for each in objects] == ["cat", "dog", "dog"]
    again = decode([segmentation_rle(each.segmentation, HEIGHT, WIDTH) for each in objects], HEIGHT, WIDTH)
    np.testing.assert_array_equal(again, [MASKS[2], MASKS[0], MASKS[1] & ~MASKS[0]])
    assert dataset.findings == ()


def test_values_are_the_numbers_of_detections(tmp_path: Path) -> None:
    with InstanceMasks(tmp_path) as writer:
        put(writer, still(Path("a.jpg")), FOUND)
    values = [np.asarray(Image.open(tmp_path / name / "a.png")) for name in ("cat", "dog")]
    assert [set(np.unique(each)) for each in values] == [{0, 3}, {0, 1, 2}]
    assert (tmp_path / "classes.txt").read_text() == "cat\ndog\n"


def test_more_than_a_byte_of_objects(tmp_path: Path) -> None:
    masks = np.zeros((HEIGHT * WIDTH, HEIGHT, WIDTH), bool)
    masks.reshape(HEIGHT * WIDTH, -1)[np.arange(HEIGHT * WIDTH), np.arange(HEIGHT * WIDTH)] = True
    with InstanceMasks(tmp_path) as writer:
        put(writer, still(Path("a.jpg")), prediction(masks))
    with Image.open(tmp_path / "cat" / "a.png") as opened:
        assert opened.mode.startswith("I;16")
        np.testing.assert_array_equal(np.asarray(opened).ravel(), np.arange(1, HEIGHT * WIDTH + 1))


def test_more_objects_than_16_bits_number_are_an_error_of_the_image(tmp_path: Path) -> None:
    many = prediction(np.zeros((1, 1, 1), bool)).select()
    object.__setattr__(many, "scores", np.zeros(65_536, np.float32))
    with InstanceMasks(tmp_path) as writer, pytest.raises(UserError, match=r"a\.jpg: has 65536 objects, expected"):
        put(writer, still(Path("a.jpg")), many)


def test_masks_of_two_runs_do_not_mix(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(UserError, match="is not empty, and masks of two runs would mix"):
        InstanceMasks(tmp_path)


@pytest.mark.parametrize("name", ["a/b", "../up", ".hidden", "", "line\nbreak"])
def test_a_class_that_cannot_name_a_folder(tmp_path: Path, name: str) -> None:
    found = prediction(MASKS, config=ModelConfig(class_names=(name,), category_ids=(1,)))
    with InstanceMasks(tmp_path) as writer, pytest.raises(UserError, match="cannot name a folder"):
        put(writer, still(Path("a.jpg")), found)
    assert list(tmp_path.iterdir()) == []
