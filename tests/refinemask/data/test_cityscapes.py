"""Cityscapes' instance maps become COCO annotations of the benchmark's 8 classes."""

import json
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from refinemask.data.categories import CITYSCAPES
from refinemask.data.cityscapes import LABELS, Args, main
from refinemask.data.coco import read_coco
from refinemask.evaluation.coco import evaluate_coco
from tests.support.coco_results import group_by_image
from tests.support.tolerances import TOLERANCES

ROAD, CAR, CARAVAN, BICYCLE = 7, 26, 29, 33
HEIGHT, WIDTH = 16, 32


def instance_map() -> NDArray[np.uint16]:
    """Two cars, one of them in two parts, a group of bicycles, a caravan, and road."""
    pixels = np.full((HEIGHT, WIDTH), ROAD, np.uint16)
    pixels[2:8, 3:10] = CAR * 1000
    pixels[4:6, 5:7] = CAR * 1000 + 1
    pixels[12:16, 28:32] = CAR * 1000 + 1
    pixels[10:12, 0:5] = BICYCLE
    pixels[0:2, 20:24] = CARAVAN * 1000
    return pixels


def add_frame(root: Path, split: str, name: str, pixels: NDArray[Any], objects: list[dict[str, Any]]) -> None:
    city = name.split("_")[0]
    images, annotations = root / "leftImg8bit" / split / city, root / "gtFine" / split / city
    images.mkdir(parents=True, exist_ok=True)
    annotations.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", pixels.shape[::-1]).save(images / f"{name}_leftImg8bit.png")
    Image.fromarray(pixels).save(annotations / f"{name}_gtFine_instanceIds.png")
    polygons = {"imgHeight": pixels.shape[0], "imgWidth": pixels.shape[1], "objects": objects}
    (annotations / f"{name}_gtFine_polygons.json").write_text(json.dumps(polygons))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    car = {"label": "car", "polygon": [[3, 2], [9, 2], [9, 7]]}
    add_frame(tmp_path, "train", "ulm_000001_000019", np.full((HEIGHT, WIDTH), ROAD, np.uint16), [])
    add_frame(tmp_path, "train", "aachen_000000_000019", instance_map(), [car, {**car, "label": "bicyclegroup"}])
    add_frame(tmp_path, "val", "lindau_000000_000019", instance_map(), [car])
    return tmp_path


def annotations_of(root: Path, split: str) -> Path:
    return root / "annotations" / f"instancesonly_filtered_gtFine_{split}.json"


def test_labels_are_numbered_as_the_benchmark_numbers_them() -> None:
    assert len(LABELS) == 34
    assert tuple(LABELS[category] for category in CITYSCAPES.category_ids) == CITYSCAPES.class_names


def test_objects_and_groups(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(Args(root=root)) == 0
    assert "2 images, 2 objects, 1 groups" in capsys.readouterr().out
    dataset = read_coco(annotations_of(root, "train"))
    assert [image.file_name for image in dataset.images] == [
        "aachen/aachen_000000_000019_leftImg8bit.png",
        "ulm/ulm_000001_000019_leftImg8bit.png",
    ]
    assert (dataset.category_ids, dataset.class_names) == (CITYSCAPES.category_ids, CITYSCAPES.class_names)
    assert dataset.annotations[2] == ()
    group, first, second = dataset.annotations[1]
    assert [(a.category_id, a.iscrowd) for a in (group, first, second)] == [(BICYCLE, True), (CAR, False), (CAR, False)]
    assert (first.bbox, first.area) == ((3, 2, 7, 6), 7 * 6 - 4)
    assert (second.bbox, second.area) == ((5, 4, 27, 12), 4 + 16)
    np.testing.assert_array_equal(coco_mask.decode(first.segmentation), instance_map() == CAR * 1000)
    assert {a.id for a in dataset.annotations[1]} == {1, 2, 3}


def test_images_are_where_the_annotations_say(root: Path) -> None:
    main(Args(root=root))
    for split in ("train", "val"):
        for image in read_coco(annotations_of(root, split)).images:
            assert (root / "leftImg8bit" / split / image.file_name).is_file()


def test_evaluation_on_the_annotations_equals_pycocotools(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for split in ("train", "val"):
        for number in range(4):
            pixels = np.full((HEIGHT, WIDTH), ROAD, np.uint16)
            for n in range(12):
                x, y, size = *random.integers(0, (WIDTH, HEIGHT)), random.choice([2, 4, 8])
                category = random.choice([CAR, BICYCLE])
                pixels[y : y + size, x : x + size] = category if n < 2 else category * 1000 + n
            # Every pixel drawn 20 times as large, for objects of all sizes.
            add_frame(tmp_path, split, f"ulm_{number}_0", np.kron(pixels, np.ones((20, 20), np.uint16)), [])
    assert main(Args(root=tmp_path)) == 0
    path = annotations_of(tmp_path, "val")
    dataset = read_coco(path)
    results = [
        {"image_id": a.image_id, "category_id": int(random.choice([CAR, BICYCLE], p=[0.9, 0.1])), "bbox": list(a.bbox)}
        | {"score": round(random.random(), 1), "segmentation": a.segmentation}
        for annotations in dataset.annotations.values()
        for a in annotations
    ]
    with redirect_stdout(StringIO()):
        truth = COCO(str(path))
        reference = COCOeval(truth, truth.loadRes([dict(result) for result in results]), "segm")
        reference.evaluate()
        reference.accumulate()
        reference.summarize()
    found = evaluate_coco(dataset, group_by_image(dataset, results), ["segm"])["segm"]
    assert min(found.values()) > 0
    assert list(found.values()) == pytest.approx(
        reference.stats.tolist(), abs=TOLERANCES["average precision"].absolute, rel=0
    )


def test_oddities_are_counted(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pixels = instance_map()
    pixels[0, 0] = 40 * 1000
    objects = [
        {"label": "hovercraft", "polygon": [[0, 0], [1, 1], [2, 0]]},
        {"label": "car", "polygon": [[0, 0], [1, 1]]},
    ]
    add_frame(root, "val", "lindau_000001_000019", pixels, objects)
    assert main(Args(root=root)) == 0
    said = capsys.readouterr().out
    assert "instances of an unknown class, left out: 1" in said
    assert "polygons of an unknown class: 1" in said
    assert "polygons of fewer than three points: 1" in said
    assert len(read_coco(annotations_of(root, "val")).annotations[2]) == 3


def test_a_wrong_root_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(Args(root=tmp_path)) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {tmp_path / 'gtFine' / 'train'}: no CITY/*_gtFine_instanceIds.png")
    assert error.count("\n") == 1


@pytest.mark.parametrize("kind", ["leftImg8bit.png", "gtFine_instanceIds.png", "gtFine_polygons.json"])
def test_a_missing_file_is_named_before_anything_is_written(
    kind: str, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (missing,) = root.glob(f"*/val/*/*_{kind}")
    missing.unlink()
    assert main(Args(root=root)) == 2
    assert f"error: {missing}: missing (1 files in all)" in capsys.readouterr().err
    assert not (root / "annotations").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot be read"),
        (b"\x89PNG\r\n\x1a\n", "cannot be read"),
        (Image.new("L", (WIDTH, HEIGHT)), "is an image of mode L, expected one channel of 16 bits"),
        (Image.fromarray(np.zeros((8, 8), np.uint16)), f"is of an image of {HEIGHT}x{WIDTH}, its instance map is 8x8"),
    ],
    ids=["empty", "truncated", "label map", "another size"],
)
def test_a_damaged_map_is_named(
    content: bytes | Image.Image, message: str, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (path,) = root.glob("gtFine/val/*/*_instanceIds.png")
    path.write_bytes(content) if isinstance(content, bytes) else content.save(path)
    assert main(Args(root=root)) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "lindau_000000_000019" in error
    assert not annotations_of(root, "val").exists()


def test_polygons_of_another_kind_are_named(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (path,) = root.glob("gtFine/val/*/*_polygons.json")
    path.write_text('{"shapes": []}')
    assert main(Args(root=root)) == 2
    assert f"{path}: not polygons of Cityscapes: lacks 'imgHeight'; expected imgHeight" in capsys.readouterr().err
