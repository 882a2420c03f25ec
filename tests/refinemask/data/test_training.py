"""Training images: what is kept, how it is augmented, and that pixels, boxes and masks stay together."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from refinemask.config import DataConfig, Window
from refinemask.data.coco import read_coco
from refinemask.data.geometry import rasterise
from refinemask.data.images import read_image
from refinemask.data.sampler import Pick
from refinemask.data.training import TrainingDataset, collate
from refinemask.files import UserError

HEIGHT, WIDTH = 60, 80
SQUARE = [10, 20, 30, 20, 30, 50, 10, 50]
CONFIG = DataConfig(annotations="", images="", short_sides=(120,), long_side=160, horizontal_flip=0.0)


def annotation(**changes: Any) -> dict[str, Any]:
    entry = {"image_id": 1, "category_id": 1, "bbox": [10, 20, 20, 30], "area": 600, "iscrowd": 0}
    return {**entry, "segmentation": [SQUARE], **changes}


def dataset(
    root: Path, annotations: list[dict[str, Any]], config: DataConfig = CONFIG, count: int = 1
) -> TrainingDataset:
    images: list[dict[str, Any]] = [
        {"id": i, "file_name": f"{i}.png", "height": HEIGHT, "width": WIDTH} for i in range(1, count + 1)
    ]
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    pixels[20:50, 10:30] = (200, 100, 50)
    for image in images:
        if not (root / image["file_name"]).exists():
            cv2.imwrite(str(root / image["file_name"]), pixels[..., ::-1])
    content = {
        "images": images,
        "annotations": [{"id": number, **entry} for number, entry in enumerate(annotations, start=1)],
        "categories": [{"id": 1, "name": "box"}, {"id": 2, "name": "other"}],
    }
    (root / "a.json").write_text(json.dumps(content))
    return TrainingDataset(read_coco(root / "a.json"), root, config)


def test_pixels_boxes_and_masks_are_resized_together(tmp_path: Path) -> None:
    image = dataset(tmp_path, [annotation()])[Pick(0, 0)]
    assert image.pixels.shape == (120, 160, 3)
    assert image.targets.boxes.tolist() == [[20, 40, 60, 100]]
    assert image.targets.boxes.dtype == torch.float32
    assert image.targets.masks[0][0].tolist() == [2 * v for v in SQUARE]
    assert image.pixels[70, 40].tolist() == [200, 100, 50]


def test_deep_images_are_trained_on_by_the_window(tmp_path: Path) -> None:
    plain = dataset(tmp_path, [annotation()])[Pick(0, 0)]
    pixels = read_image(tmp_path / "1.png").astype(np.uint16) * 16
    assert cv2.imwrite(str(tmp_path / "1.png"), pixels[..., ::-1])
    coco = read_coco(tmp_path / "a.json")
    deep = TrainingDataset(coco, tmp_path, CONFIG, window=Window(low=0, high=16 * 255))[Pick(0, 0)]
    np.testing.assert_array_equal(deep.pixels, plain.pixels)
    with pytest.raises(
        UserError, match=r"in a row cannot be read; the first: .*1\.png: has uint16 .* --window LOW HIGH"
    ):
        TrainingDataset(coco, tmp_path, CONFIG)[Pick(0, 0)]


@pytest.mark.parametrize(("horizontal", "vertical"), [(1.0, 0.0), (0.0, 1.0), (1.0, 1.0)])
@pytest.mark.parametrize("polygons", [True, False])
def test_flips_move_everything_alike(tmp_path: Path, horizontal: float, vertical: float, polygons: bool) -> None:
    config = replace(CONFIG, horizontal_flip=horizontal, vertical_flip=vertical, polygons=polygons)
    image = dataset(tmp_path, [annotation()], config)[Pick(0, 0)]
    (mask,) = image.targets.masks
    bitmap = mask if isinstance(mask, np.ndarray) else rasterise(mask, 120, 160)
    x1, y1, x2, y2 = image.targets.boxes[0].int().tolist()
    drawn = (image.pixels[..., 0] > 100).astype(np.uint8)
    # Bilinear resizing blurs the drawing's edge, and the COCO rasteriser's is a pixel wider.
    assert drawn[y1:y2, x1:x2].mean() > 0.9
    assert (drawn != bitmap).sum() < 2 * (x2 - x1 + y2 - y1)
    assert (x1, y1) == (100 if horizontal else 20, 20 if vertical else 40)


def test_the_pick_decides_scale_and_flip(tmp_path: Path) -> None:
    images = dataset(tmp_path, [annotation()], replace(CONFIG, short_sides=(60, 90, 120), horizontal_flip=0.5))
    shapes = {
        (images[Pick(0, seed)].pixels.shape, float(images[Pick(0, seed)].targets.boxes[0, 0])) for seed in range(40)
    }
    assert len({shape for shape, _ in shapes}) == 3
    assert len(shapes) == 6
    first, again = images[Pick(0, 7)], images[Pick(0, 7)]
    assert np.array_equal(first.pixels, again.pixels)
    assert first.targets.seed == again.targets.seed != images[Pick(0, 8)].targets.seed


@pytest.mark.parametrize(
    "useless",
    [
        {"iscrowd": 1},
        {"area": 0},
        {"bbox": [10, 20, 0.5, 30]},
        {"bbox": [10, 20, 20, 0.9]},
        {"bbox": [90, 20, 20, 30]},
        {"bbox": [10, -40, 20, 30]},
    ],
)
def test_useless_objects_are_dropped(tmp_path: Path, useless: dict[str, Any]) -> None:
    kept = dataset(tmp_path, [annotation(**useless), annotation(category_id=2)])
    assert kept[Pick(0, 0)].targets.labels.tolist() == [1]
    with pytest.raises(UserError, match="none of its 1 images has an object"):
        dataset(tmp_path, [annotation(**useless)])


def test_what_is_left_out_is_counted_by_its_reason(tmp_path: Path) -> None:
    objects = [annotation(iscrowd=1)] * 3 + [annotation(area=0), annotation(bbox=[0.1, 0.2, 0.2, 0.3])]
    left_out = dataset(tmp_path, [*objects, annotation(bbox=[90, 20, 20, 30]), annotation()], count=2).left_out
    for count, reason in [(3, "crowds"), (1, "objects without area"), (1, "objects with a box under a pixel"),
                          (1, "objects outside their image"), (1, "images without annotations")]:  # fmt: skip
        assert f"{count} {reason}" in left_out
    assert not dataset(tmp_path, [annotation()]).left_out


@pytest.mark.parametrize(
    ("useless", "reason"),
    [
        ({"iscrowd": 1}, r"2 crowds \(iscrowd 1; if each is one object: --crowd-as-object\)"),
        (
            {"bbox": [0.1, 0.2, 0.3, 0.4]},
            r"2 objects with a box under a pixel \(boxes are x, y, width, height in pixels",
        ),
        ({"segmentation": None}, "1 images of which every object is left out"),
    ],
)
def test_the_reasons_why_nothing_is_left_are_named(tmp_path: Path, useless: dict[str, Any], reason: str) -> None:
    with pytest.raises(UserError, match=f"none of its 1 images has an object to train on: {reason}"):
        dataset(tmp_path, [annotation(**useless)] * 2)


def test_background_images_are_kept_on_request(tmp_path: Path) -> None:
    crowd, degenerate = annotation(image_id=2, iscrowd=1), annotation(image_id=3, segmentation=None)
    objects = [annotation(), crowd, degenerate]
    without, kept = (
        dataset(tmp_path, objects, replace(CONFIG, background_images=wanted, horizontal_flip=0.5), count=4)
        for wanted in (False, True)
    )
    assert without.image_ids == [1]
    # Images 2 and 3 show something that nobody has outlined: they are no background.
    assert kept.image_ids == [1, 4]
    assert (kept.counts.images, kept.counts.background_images, kept.counts.objects) == (2, 1, {1: 1})
    assert kept.counts.left_out["images of which every object is left out"] == 2
    assert without.counts.left_out["images without annotations (--background-images keeps them)"] == 1
    for seed in range(4):
        targets = collate([kept[Pick(1, seed)]]).targets[0]
        assert (targets.boxes.shape, targets.labels.dtype, list(targets.masks)) == ((0, 4), torch.int64, [])


@pytest.mark.parametrize("keep", [True, False])
def test_data_without_any_annotation_are_refused_with_a_reason(tmp_path: Path, keep: bool) -> None:
    reason = "they have no annotations$" if keep else "2 images without annotations .*--background-images"
    with pytest.raises(UserError, match=f"none of its 2 images has an object to train on: {reason}"):
        dataset(tmp_path, [], replace(CONFIG, background_images=keep), count=2)


@pytest.mark.parametrize(("count", "tried"), [(1, 1), (3, 3), (12, 10)])
def test_no_more_images_are_tried_than_there_are(tmp_path: Path, count: int, tried: int) -> None:
    images = dataset(tmp_path, [annotation(image_id=number) for number in range(1, count + 1)], count=count)
    for path in tmp_path.glob("*.png"):
        path.write_bytes(b"")
    with pytest.raises(
        UserError, match=rf"^{tried} images in a row cannot be read; the first: .*1\.png: the file is empty"
    ):
        images[Pick(0, 0)]


@pytest.mark.parametrize(
    ("sides", "canvas"),
    [([(1, 1)], (32, 64)), ([(32, 32), (5, 9)], (32, 64)), ([(33, 32)], (64, 32)), ([(32, 33)], (32, 64))],
)
def test_a_batch_has_more_than_one_cell_of_the_coarsest_stage(
    tmp_path: Path, sides: list[tuple[int, int]], canvas: tuple[int, int]
) -> None:
    image = dataset(tmp_path, [annotation()])[Pick(0, 0)]
    batch = collate([image._replace(pixels=np.full((*side, 3), 7, np.uint8)) for side in sides])
    assert batch.images.shape == (len(sides), 3, *canvas)
    assert batch.image_sizes.tolist() == [list(side) for side in sides]
    assert int(batch.images.sum()) == 7 * 3 * sum(height * width for height, width in sides)


def test_negatives_alone_teach_nothing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="none of its 2 images has an object to train on"):
        dataset(tmp_path, [], replace(CONFIG, background_images=True), count=2)


def test_repeated_images_are_counted_once(tmp_path: Path) -> None:
    config = replace(CONFIG, repeat_threshold=1.0)
    objects = [annotation(image_id=i) for i in (1, 2, 3, 4)] + [annotation(image_id=1, category_id=2)]
    images = dataset(tmp_path, objects, config, count=4)
    assert images.image_ids == [1, 1, 2, 3, 4]
    assert (images.counts.images, images.counts.objects) == (4, {1: 4, 2: 1})


def test_the_option_of_missing_files_is_named(tmp_path: Path) -> None:
    path = dataset(tmp_path, [annotation()])._directory / "a.json"
    with pytest.raises(UserError, match=r"the first is '1\.png'; check --images"):
        TrainingDataset(read_coco(path), tmp_path / "absent", CONFIG, images_option="--images")


def test_far_polygons_and_foreign_boxes_train(tmp_path: Path) -> None:
    far = annotation(segmentation=[[10, 20, 1e12, 20, 1e12, 50, 10, 50]], bbox=[10, 20, 1e12, 30])
    targets = dataset(tmp_path, [far])[Pick(0, 0)].targets
    assert targets.boxes.tolist() == [[20, 40, 160, 100]]
    [mask] = targets.masks
    assert isinstance(mask, list)
    assert rasterise(mask, 120, 160)[40:100, 20:].all()


def test_missing_files_are_found_at_the_start(tmp_path: Path) -> None:
    dataset(tmp_path, [annotation()])
    (tmp_path / "1.png").unlink()
    with pytest.raises(UserError, match=r"1 of the 1 files for the images of .* missing, the first is '1\.png'"):
        TrainingDataset(read_coco(tmp_path / "a.json"), tmp_path, CONFIG)


def test_a_bad_file_is_replaced_and_reported(tmp_path: Path) -> None:
    images = dataset(tmp_path, [annotation(image_id=1), annotation(image_id=2, category_id=2)], count=2)
    (tmp_path / "1.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    batch = collate([images[Pick(0, 0)], images[Pick(1, 0)]])
    assert [targets.labels.tolist() for targets in batch.targets] == [[1], [1]]
    assert len(batch.skipped) == 1
    assert "1.png" in batch.skipped[0]
    (tmp_path / "2.png").write_bytes(b"")
    with pytest.raises(UserError, match="in a row"):
        images[Pick(0, 0)]


def test_an_image_of_another_size_than_annotated_is_replaced(tmp_path: Path) -> None:
    images = dataset(tmp_path, [annotation(image_id=1), annotation(image_id=2)], count=2)
    cv2.imwrite(str(tmp_path / "1.png"), np.zeros((50, 50, 3), np.uint8))
    assert "but was annotated at 60x80" in images[Pick(0, 0)].skipped[0]


def test_rare_categories_repeat_their_images(tmp_path: Path) -> None:
    entries = [annotation(image_id=i) for i in range(1, 9)] + [annotation(image_id=8, category_id=2)]
    images = dataset(tmp_path, entries, replace(CONFIG, repeat_threshold=0.4), count=8)
    # Category 2 is in 1 of 8 images: ceil(sqrt(0.4 / 0.125)) = 2.
    assert len(images) == len(images.aspect_ratios) == 9


def test_a_batch_is_padded_to_a_common_canvas(tmp_path: Path) -> None:
    images = dataset(tmp_path, [annotation()], replace(CONFIG, short_sides=(60, 120)))
    batch = collate([images[Pick(0, seed)] for seed in range(6)])
    assert batch.images.shape == (6, 3, 128, 160)
    assert batch.images.dtype == torch.uint8
    assert {tuple(size) for size in batch.image_sizes.tolist()} == {(60, 80), (120, 160)}
