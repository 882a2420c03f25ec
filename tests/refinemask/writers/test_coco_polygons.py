"""A COCO file whose polygons are the masks that were found."""

import json
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from pycocotools.coco import COCO

from refinemask.data.reading import read_annotations
from refinemask.files import UserError
from refinemask.masks import decode, segmentation_rle
from refinemask.writers import scratch
from refinemask.writers.coco_polygons import CocoPolygons
from tests.support.written import BROKEN, HEIGHT, WIDTH, boxes_of, clip, frame, prediction, put, still


def shapes() -> np.ndarray:
    """A ring, two parts, and nothing: [3, HEIGHT, WIDTH]."""
    ring, parts, _ = masks = np.zeros((3, HEIGHT, WIDTH), bool)
    ring[2:12, 3:15] = True
    ring[5:8, 6:9] = False
    parts[1:3, 20:25] = parts[10:19, 18:29] = True
    return masks


FOUND = prediction(shapes(), labels=[1, 0, 1])


def write(path: Path, error: BaseException | None = None) -> None:
    """Write three images of four, and end the block by an error."""
    with CocoPolygons(path) as writer:
        put(writer, still(Path("in/street/a.jpg"), "street/a"), FOUND)
        writer.fail(still(Path("broken.jpg")), BROKEN)
        put(writer, frame(clip(), 12), prediction(boxes_of((0, 0, 5, 5))))
        put(writer, still(Path("empty.jpg")), prediction(boxes_of()))
        if error is not None:
            raise error


def test_our_reader_and_that_of_coco_find_every_pixel_again(tmp_path: Path) -> None:
    path = tmp_path / "draft.json"
    write(path)
    dataset = read_annotations(path)
    assert dataset.categories == {4: "cat", 9: "dog"}
    assert dataset.findings == ()
    objects = dataset.annotations[1]
    again = decode([segmentation_rle(each.segmentation, HEIGHT, WIDTH) for each in objects], HEIGHT, WIDTH)
    np.testing.assert_array_equal(again, shapes()[:2])
    official = COCO(str(path))
    np.testing.assert_array_equal([official.annToMask(official.anns[number]) for number in (1, 2)], shapes()[:2])


def test_fields(tmp_path: Path) -> None:
    path = tmp_path / "draft.json"
    write(path)
    content = json.loads(path.read_text())
    size = {"height": HEIGHT, "width": WIDTH}
    assert content["images"] == [
        {"id": 1, "file_name": "street/a.jpg"} | size,
        {"id": 3, "file_name": "clip/000012.png"} | size | {"video": "clip.mp4", "frame": 12, "seconds": 1.2},
        {"id": 4, "file_name": "empty.jpg"} | size,
    ]
    ring, parts, square = content["annotations"]
    assert [each["id"] for each in (ring, parts, square)] == [1, 2, 3]
    assert [each["image_id"] for each in (ring, parts, square)] == [1, 1, 3]
    assert ring["score"] == pytest.approx(0.9)
    del ring["score"], ring["segmentation"]
    assert ring == {"id": 1, "image_id": 1, "category_id": 9, "area": 111, "bbox": [3, 2, 12, 10], "iscrowd": 0}
    assert len(parts["segmentation"]) == 2
    assert square["segmentation"] == [[0, 0, 5, 0, 5, 5, 0, 5]]


def test_a_tolerance_makes_fewer_corners(tmp_path: Path) -> None:
    rows, columns = np.indices((HEIGHT, WIDTH))
    disk = prediction((np.hypot(rows - 10, columns - 12) < 8)[None])
    lengths = []
    for tolerance in (0.0, 1.0):
        with CocoPolygons(tmp_path / "draft.json", tolerance) as writer:
            put(writer, still(Path("a.jpg")), disk)
        [annotation] = json.loads((tmp_path / "draft.json").read_text())["annotations"]
        lengths.append(len(annotation["segmentation"][0]))
    assert lengths[1] < lengths[0] / 2


def test_what_was_found_before_an_interruption_is_written(tmp_path: Path) -> None:
    path = tmp_path / "draft.json"
    with pytest.raises(KeyboardInterrupt):
        write(path, KeyboardInterrupt())
    assert len(json.loads(path.read_text())["annotations"]) == 3


def test_without_an_image_nothing_is_written(tmp_path: Path) -> None:
    with CocoPolygons(tmp_path / "draft.json") as writer:
        writer.fail(still(Path("a.jpg")), BROKEN)
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_written_is_kept_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "out").write_text("no folder")
    (tmp_path / "kept").mkdir()
    monkeypatch.setattr(scratch, "mkdtemp", lambda prefix: str(tmp_path / "kept"))
    with pytest.raises(UserError, match=r"out/draft\.json: cannot .*are in .*kept/draft\.json"):
        write(tmp_path / "out" / "draft.json")
    assert len(json.loads((tmp_path / "kept" / "draft.json").read_text())["images"]) == 3


@pytest.mark.parametrize("error", [KeyboardInterrupt, UserError])
def test_no_annotation_is_without_its_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    path = tmp_path / "draft.json"
    with CocoPolygons(path) as writer:
        put(writer, still(Path("a.jpg")), FOUND)
        monkeypatch.setattr(writer._images, "append", Mock(side_effect=error("between the two")))
        with pytest.raises(error):
            put(writer, still(Path("b.jpg")), FOUND)
    content = json.loads(path.read_text())
    assert [image["id"] for image in content["images"]] == [1]
    assert [each["image_id"] for each in content["annotations"]] == [1, 1]
