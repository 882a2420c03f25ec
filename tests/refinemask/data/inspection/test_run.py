"""What an inspection finds in data sets with one fault each, and in those without."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from PIL import ExifTags, Image

import refinemask
from refinemask.bundled import NUCLEI
from refinemask.config import Window
from refinemask.data.coco import read_coco
from refinemask.data.findings import Finding
from refinemask.data.inspection import losses, run
from refinemask.data.inspection.image_files import Problem
from refinemask.data.inspection.remarks import Remark, remarks_on_training, remarks_on_validation
from refinemask.data.inspection.run import Inspection, inspect
from refinemask.files import UserError
from tests.support.own_data import HEIGHT, WIDTH, clean, noise, square, write_annotations, write_own_data

Objects = dict[str, list[dict[str, Any]]]


def remarks(found: Inspection) -> dict[str, Remark]:
    return {each.what: each for each in remarks_on_training(found)}


def spoil(change: Callable[[Objects], None]) -> Objects:
    objects = clean()
    change(objects)
    return objects


def test_clean_data_have_no_remark(tmp_path: Path) -> None:
    found = inspect(*write_own_data(tmp_path, clean()))
    assert remarks(found) == {}
    assert found.passed
    assert found.training.losses.lost == 0
    assert found.verdict == "training would use 24 of 24 objects, and lose 0.0 %"


LOSSES: dict[str, tuple[dict[str, Any], str]] = {
    "crowd": ({"iscrowd": 1}, "crowds"),
    "no area": ({"area": 0}, "objects without area"),
    "outside": ({"bbox": [WIDTH + 5, 0, 9, 9]}, "objects outside their image"),
    "too small": ({"bbox": [3, 3, 0.4, 9]}, "objects with a box under a pixel"),
}


@pytest.mark.parametrize("kind", LOSSES)
def test_objects_that_training_drops_are_counted(tmp_path: Path, kind: str) -> None:
    fault, what = LOSSES[kind]
    objects = clean()
    for name in ("3.png", "5.png", "6.png"):
        objects[name][0] |= fault
    found = inspect(*write_own_data(tmp_path, objects))
    assert {each.what: each.count for each in remarks_on_training(found) if each.level == "lost"} == {what: 3}
    assert remarks(found)[what].remedy
    assert (found.training.losses.lost, found.training.losses.objects) == (3, 24)
    assert found.training.statistics.trainable == 21
    assert not found.passed
    assert "would lose 12.5 % of the objects, more than the 5.0 % of --tolerate" in found.verdict


def test_images_too_small_to_train_on_lose_their_objects(tmp_path: Path) -> None:
    objects = {name: [square(1, 1, 20)] for name in clean()}
    found = inspect(*write_own_data(tmp_path, objects, size=(31, 80)))
    assert remarks(found)["objects of images under 32 pixels"].count == 12
    assert found.verdict == "training would not start: no object can be trained on"


def test_what_is_tolerated_decides(tmp_path: Path) -> None:
    paths = write_own_data(tmp_path, spoil(lambda objects: objects["0.png"][0].update(iscrowd=1)))
    share = 1 / 24
    assert inspect(*paths, tolerated=share).passed
    assert not inspect(*paths, tolerated=share - 1e-9).passed
    assert inspect(*paths).passed


def test_crowds_that_are_objects_are_no_loss(tmp_path: Path) -> None:
    paths = write_own_data(tmp_path, {name: [square(iscrowd=1)] for name in clean()})
    assert inspect(*paths).training.losses.lost == 12
    found = inspect(*paths, validation=paths[0], crowd_as_object=True)
    assert found.validation is not None
    for data in (found.training, found.validation):
        assert data.losses.lost == 0
        assert data.statistics.trainable == 12


def test_a_missing_file_stops_training_whatever_is_tolerated(tmp_path: Path) -> None:
    annotations, images = write_own_data(tmp_path, clean())
    (images / "4.png").unlink()
    found = inspect(annotations, images, tolerated=1)
    assert not found.passed
    assert found.verdict == "training would not start: 1 of 12 image files are missing, the first is 4.png"
    assert remarks(found)["missing image files, with 2 objects"].level == "stops"


def test_the_missing_file_of_an_image_without_objects_stops_nothing(tmp_path: Path) -> None:
    annotations, images = write_own_data(tmp_path, {**clean(), "empty.png": []})
    (images / "empty.png").unlink()
    found = inspect(annotations, images)
    assert found.passed
    assert remarks(found)["missing image files, with 0 objects"].level == "look"


def break_file(path: Path) -> None:
    path.write_bytes(b"no picture")


def resize_file(path: Path) -> None:
    Image.fromarray(noise(77, HEIGHT // 2, WIDTH // 2)).save(path)


def turn_file(path: Path) -> None:
    tags = Image.Exif()
    tags[ExifTags.Base.Orientation] = 6
    Image.fromarray(noise(77)).save(path, exif=tags)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (break_file, "image files that cannot be read, with 2 objects"),
        (resize_file, "images of another size than annotated, with 2 objects"),
        (turn_file, "images annotated on the unrotated picture, with 2 objects"),
    ],
)
def test_files_that_training_cannot_use_are_losses(tmp_path: Path, change: Callable[[Path], None], what: str) -> None:
    annotations, images = write_own_data(tmp_path, clean())
    change(images / "7.png")
    found = inspect(annotations, images)
    assert list(remarks(found)) == [what]
    assert remarks(found)[what].first == "7.png"
    assert found.training.losses.share == 2 / 24
    assert not found.passed


def test_what_the_reader_left_out_counts_as_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = write_own_data(tmp_path, clean())
    finding = Finding("left out", "objects without a polygon", 6, "annotation 3")
    mended = Finding("mended", "objects without an area", 2, "annotation 4")
    images = Finding("left out", "images without a size", 2, "image 4")
    dataset = replace(read_coco(paths[0]), findings=(finding, mended, images))
    monkeypatch.setattr(run, "read_annotations", lambda *_, **__: dataset)
    found = inspect(*paths)
    assert (found.training.losses.objects, found.training.losses.lost) == (30, 6)
    assert not found.passed
    told = {each.what: (each.count, each.level, each.first) for each in remarks_on_training(found)}
    assert told == {
        "objects without a polygon: left out": (6, "lost", "annotation 3"),
        "images without a size: left out": (2, "lost", "image 4"),
        "objects without an area: mended": (2, "note", "annotation 4"),
    }


def test_deep_images_without_a_window_are_losses(tmp_path: Path) -> None:
    annotations, images = write_own_data(tmp_path, clean())
    Image.fromarray(noise(5, channels=1)[..., 0].astype("uint16") * 16).save(images / "5.png")
    found = inspect(annotations, images)
    remark = remarks(found)["images of more than 8 bits per channel, and no window, with 2 objects"]
    assert (remark.count, remark.level) == (1, "lost")
    assert "--window" in remark.remedy
    assert not found.passed
    found = inspect(annotations, images, window=Window(low=0, high=4095))
    assert (found.passed, remarks(found)) == (True, {})
    assert found.training.files.deep.count == 1


def test_rare_and_missing_classes_are_named(tmp_path: Path) -> None:
    paths = write_own_data(tmp_path, clean(9), classes={1: "cat", 2: "dog", 3: "unicorn"})
    found = remarks(inspect(*paths))
    assert (found["classes without an object"].count, found["classes without an object"].first) == (1, "unicorn")
    assert found["classes with fewer than 10 objects"].count == 2


def test_objects_annotated_twice_are_found(tmp_path: Path) -> None:
    objects = clean()
    objects["0.png"] += [square(), square(category_id=2)]
    assert (
        remarks(inspect(*write_own_data(tmp_path, objects)))[
            "objects annotated twice, with the same box and class"
        ].count
        == 1
    )


def test_tiny_objects_are_held_against_the_anchors(tmp_path: Path) -> None:
    objects = {name: [*group, *(square(4 * i, 2, 1.5) for i in range(9))] for name, group in clean().items()}
    # 64 x 80 pixels become 800 x 1000: an object of 1.5 pixels has 18.75, more than half of the anchor's 32.
    paths = write_own_data(tmp_path, objects)
    assert not any("anchor" in what for what in remarks(inspect(*paths)))
    objects = {name: [*group, *(square(4 * i, 2, 1.2) for i in range(9))] for name, group in clean().items()}
    found = remarks(inspect(*write_own_data(tmp_path, objects)))
    [what] = [what for what in found if "anchor" in what]
    assert found[what].count == 9 * 12
    assert found[what].remedy.startswith("--anchor-scale 7.5, or")


def test_more_objects_than_detections_are_told(tmp_path: Path) -> None:
    objects = clean()
    objects["1.png"] = [square(2 + 6 * (i % 12), 2 + 6 * (i // 12), 5) for i in range(108)]
    found = inspect(*write_own_data(tmp_path, objects))
    remark = remarks(found)["images with more objects than the model's 100 detections"]
    assert (remark.count, remark.remedy) == (1, "--detections 108")
    assert found.training.statistics.objects_over_detections == 8


def test_a_recipe_decides_anchors_and_detections(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    found = inspect(*write_own_data(tmp_path, clean()), recipe="nuclei-demo").training.statistics
    assert (found.smallest_anchor, found.detections) == (16, 150)


def test_validation_is_compared_with_training(tmp_path: Path) -> None:
    training, images = write_own_data(tmp_path / "train", clean())
    classes = {1: "cat", 5: "horse"}
    objects = {"0.png": [square()], "new.png": [square(category_id=5)], "copy.png": [square()]}
    validation, others = write_own_data(tmp_path / "val", objects, seed=1, classes=classes)
    (others / "copy.png").write_bytes((images / "2.png").read_bytes())
    found = inspect(training, images, validation=validation, validation_images=others)
    assert found.comparison is not None
    assert found.validation is not None
    told = {each.what: (each.count, each.first) for each in remarks_on_validation(found.validation, found.comparison)}
    assert told == {
        "images with the bytes of an image to train on": (1, "copy.png (as 2.png)"),
        "images with the file name of another image to train on": (1, "0.png"),
        "classes that training has no object of": (1, "horse"),
    }
    assert found.passed


def test_validation_may_lie_in_the_same_folder(tmp_path: Path) -> None:
    annotations, images = write_own_data(tmp_path, clean())
    Image.fromarray(noise(999)).save(images / "val.png")
    validation = write_annotations(tmp_path / "val.json", {"val.png": [square()], "3.png": [square()]})
    found = inspect(annotations, images, validation=validation)
    assert found.comparison is not None
    assert found.comparison.same_content.first == "3.png (as 3.png)"
    assert found.training.files.unnamed.count == 0
    assert inspect(annotations, images).training.files.unnamed.count == 1


def test_other_formats_are_looked_into_as_coco_is(tmp_path: Path) -> None:
    folder = tmp_path / "masks"
    folder.mkdir()
    images = tmp_path / "images"
    images.mkdir()
    for number in range(3):
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        mask[10:30, 5:25], mask[40:60, 30:70] = 1, 2
        Image.fromarray(mask).save(folder / f"{number}.png")
        Image.fromarray(noise(number)).save(images / f"{number}.png")
    found = inspect(folder, images)
    assert found.verdict == "training would use 6 of 6 objects, and lose 0.0 %"
    assert found.training.statistics.sizes == {"small": 6, "medium": 0, "large": 0}


def test_the_numbers_are_json(tmp_path: Path) -> None:
    annotations, images = write_own_data(tmp_path, clean())
    content = json.loads(inspect(annotations, images, validation=annotations).to_json())
    assert content["passed"] is True
    assert content["training"]["statistics"]["objects"] == 24
    assert content["comparison"]["same_content"]["count"] == 12
    assert content["validation"]["files"]["kinds"] == {"RGB, 8 bits": 12}


def test_the_bundled_nuclei_are_clean() -> None:
    annotations = NUCLEI / "annotations"
    found = inspect(
        annotations / "instances_train.json", NUCLEI / "images", validation=annotations / "instances_val.json"
    )
    assert found.passed
    assert remarks_on_training(found) == []
    assert found.comparison is not None
    assert not any(vars(found.comparison).values())
    assert found.training.files.unnamed.count == 0


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"tolerated": 1.5}, "--tolerate is 1.5"),
        ({"tolerated": float("nan")}, "--tolerate is nan"),
        ({"images": "absent"}, "absent: no such folder"),
        ({"validation": "absent.json"}, "absent.json: no such file"),
        ({"validation": "train.json", "validation_images": "absent"}, "absent: no such folder"),
    ],
)
def test_bad_input_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], line: str
) -> None:
    write_own_data(tmp_path, clean(2))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=line) as caught:
        inspect(**{"annotations": "train.json", "images": "images", **options})
    assert "\n" not in str(caught.value)


def test_an_unknown_recipe_is_one_line_with_a_proposal(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    with pytest.raises(UserError, match=r"'nuclei-dem' is no recipe.*nuclei-demo"):
        inspect(*write_own_data(tmp_path, clean(1)), recipe="nuclei-dem")


def test_the_package_offers_it() -> None:
    assert refinemask.inspect is inspect
    assert refinemask.Inspection is Inspection
    assert losses.OF_FILES.keys() == set(get_args(Problem))
