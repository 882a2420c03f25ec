"""Annotation files that people reported: each is read as they meant it, or its oddity is counted by name."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from refinemask.coco_strings import coco_string
from refinemask.data.annotated import read_annotated, require_files
from refinemask.data.coco import CocoDataset, read_coco
from refinemask.evaluation.coco import evaluate_coco
from refinemask.files import UserError
from refinemask.masks import segmentation_rle

RUNS = [14622, 2, 1, 1, 250, 9, 246, 12, 244, 13, 243, 13, 243, 13, 244, 11, 49369]
POLYGON = [58.5, 195.5, 58.5, 198.5, 57.5, 199.5, 55.5, 201.5, 55.5, 206.5, 61.5, 206.5, 67.5, 201.5, 65.5, 195.5]
RLE = {"size": [256, 256], "counts": RUNS}
CELL = {"image_id": 1, "category_id": 1, "iscrowd": 0, "area": 74.0, "bbox": [57.0, 26.0, 8.0, 14.0]}
OTHER = {"image_id": 1, "category_id": 1, "iscrowd": 0, "area": 121.0, "bbox": [55.5, 195.5, 12.0, 11.0]}


def content(*segmentations: Any, **changes: Any) -> dict[str, Any]:
    """Annotations of one picture with a cell for each segmentation, and another cell as it should be."""
    cells = [CELL | {"id": number, "segmentation": each} | changes for number, each in enumerate(segmentations, 1)]
    return {
        "images": [{"id": 1, "file_name": "cells.png", "height": 256, "width": 256}],
        "annotations": [*cells, OTHER | {"id": 9, "segmentation": [POLYGON]}],
        "categories": [{"id": 1, "name": "nucleus", "supercategory": "cell"}],
    }


def read(folder: Path, what: Any, **options: Any) -> CocoDataset:
    (folder / "annotations.json").write_text(json.dumps(what))
    dataset = read_coco(folder / "annotations.json", **options)
    for image in dataset.images:
        # What is read can be measured, in a moment.
        evaluate_coco(dataset, {image.id: []})
    return dataset


def mask_of(dataset: CocoDataset, position: int = 0) -> Any:
    return coco_mask.decode(segmentation_rle(dataset.annotations[1][position].segmentation, 256, 256))


MASK = coco_mask.decode(segmentation_rle(RLE, 256, 256))


def findings(dataset: CocoDataset) -> list[tuple[str, int, str]]:
    return [(finding.kind, finding.count, finding.first.partition(" (")[0]) for finding in dataset.findings]


@pytest.mark.parametrize("segmentation", [None, [], [[]]])
def test_a_box_among_polygons_is_left_out(tmp_path: Path, segmentation: Any) -> None:
    dataset = read(tmp_path, content(segmentation))
    assert findings(dataset) == [("left out", 1, "annotation 1")]
    assert [annotation.id for annotation in dataset.annotations[1]] == [9]


@pytest.mark.parametrize(
    "segmentation",
    [
        POLYGON,
        [POLYGON[i : i + 2] for i in range(0, len(POLYGON), 2)],
        [[POLYGON[i : i + 2] for i in range(0, len(POLYGON), 2)]],
    ],
)
def test_flat_polygons_and_pairs_are_the_polygon(tmp_path: Path, segmentation: Any) -> None:
    dataset = read(tmp_path, content(segmentation, bbox=OTHER["bbox"]))
    assert findings(dataset) == [("mended", 1, "annotation 1")]
    assert dataset.annotations[1][0].segmentation == dataset.annotations[1][1].segmentation


@pytest.mark.parametrize(
    "counts",
    [RUNS[:-1], [*RUNS[:-1], RUNS[-1] - 1], coco_string(RUNS[:-1]).decode(), str(coco_string(RUNS))],
)
def test_runs_that_end_too_early_or_are_printed_bytes_are_the_mask(tmp_path: Path, counts: Any) -> None:
    dataset = read(tmp_path, content({"size": [256, 256], "counts": counts}))
    assert findings(dataset) == [("mended", 1, "annotation 1")]
    assert np.array_equal(mask_of(dataset), MASK)


@pytest.mark.parametrize(
    "segmentation",
    [
        {"size": [256, 256], "counts": [*RUNS, 500, 500]},
        {"size": [256, 256], "counts": [*RUNS[:-1], RUNS[-1] + 1]},
        {"size": [256, 256], "counts": [10, None]},
        {"size": [256, 256], "counts": [-1, 65537]},
        {"size": [256, 256], "counts": "eJwDAAAAAAE="},
        {"size": 5, "counts": [10]},
        {"size": [128, 512], "counts": RUNS},
    ],
)
def test_runs_of_no_such_picture_are_left_out_by_name(tmp_path: Path, segmentation: Any) -> None:
    dataset = read(tmp_path, content(segmentation))
    assert findings(dataset) == [("left out", 1, "annotation 1")]
    assert len(dataset.annotations[1]) == 1


def test_a_file_of_nothing_but_long_runs_is_read_and_empty(tmp_path: Path) -> None:
    what = content(*[{"size": [256, 256], "counts": [*RUNS, 500, 500]}] * 7)
    dataset = read(tmp_path, {**what, "annotations": what["annotations"][:7]})
    assert dataset.annotations == {1: ()}
    assert findings(dataset) == [("left out", 7, "annotation 1")]


@pytest.mark.parametrize("far", [2e8, 1e9, 1e12, 1e300])
def test_polygons_far_outside_are_cut_off_near_the_picture(tmp_path: Path, far: float) -> None:
    dataset = read(tmp_path, content([[-150.0, -200.0, far, 1.6 * far, 220.0, 230.0]], [[0, 0, far, 0, 10, 10]]))
    assert len(dataset.annotations[1]) == 3
    assert [finding for finding in dataset.findings if finding.kind != "note"] == []
    assert 0 < mask_of(dataset).sum() < 256 * 256


def test_brush_masks_that_are_all_crowds_are_objects_if_asked_for(tmp_path: Path) -> None:
    what = content(*[RLE] * 7, iscrowd=1)
    dataset = read(tmp_path, what)
    assert all(annotation.iscrowd for annotation in dataset.annotations[1][:7])
    (finding,) = dataset.findings
    assert str(finding).startswith(
        "note: 7 of 8 objects are marked as crowds (iscrowd 1), as CVAT marks every brush mask"
    )
    assert "--crowd-as-object" in str(finding)
    dataset = read(tmp_path, what, crowd_as_object=True)
    assert not any(annotation.iscrowd for annotation in dataset.annotations[1])
    assert [finding.count for finding in dataset.findings] == [7]


def test_categories_from_0_keep_their_ids(tmp_path: Path) -> None:
    what = content(RLE, category_id=0) | {"categories": [{"id": 0, "name": "date"}, {"id": 1, "name": "fig"}]}
    dataset = read(tmp_path, what)
    assert dataset.labels == {0: 0, 1: 1}
    assert [annotation.category_id for annotation in dataset.annotations[1]] == [0, 1]
    assert dataset.findings == ()


@pytest.mark.parametrize("name", ["sub\\cells.png", "sub/cells.png", "images\\sub\\cells.png", "D:\\x\\sub\\cells.png"])
def test_names_that_windows_wrote_are_found(tmp_path: Path, name: str) -> None:
    (tmp_path / "images" / "sub").mkdir(parents=True)
    Image.new("RGB", (256, 256)).save(tmp_path / "images" / "sub" / "cells.png")
    what = content(RLE)
    what["images"][0]["file_name"] = name
    dataset = read(tmp_path, what)
    require_files(dataset.images, tmp_path / "images", dataset.path)
    assert read_annotated(tmp_path / "images", dataset.images[0]).shape == (256, 256, 3)


def test_names_that_lead_out_of_the_folder_lead_nowhere(tmp_path: Path) -> None:
    what = content(RLE)
    what["images"][0]["file_name"] = "../../../../../../etc/passwd"
    with pytest.raises(UserError, match="is not below the folder"):
        require_files(read(tmp_path, what).images, tmp_path, "annotations.json")


@pytest.mark.parametrize("height", ["Infinity", "1e999", "-1", "null", '"tall"'])
def test_impossible_heights_are_read_from_the_picture(tmp_path: Path, height: str) -> None:
    Image.new("RGB", (256, 256)).save(tmp_path / "cells.png")
    text = json.dumps(content(RLE)).replace('"height": 256', f'"height": {height}')
    (tmp_path / "a.json").write_text(text)
    dataset = read_coco(tmp_path / "a.json", tmp_path)
    assert (dataset.images[0].height, dataset.images[0].width) == (256, 256)
    assert len(dataset.annotations[1]) == 2


@pytest.mark.parametrize("area", ["1" + "0" * 400, "1e400", "-Infinity", "NaN", "null"])
def test_impossible_areas_are_those_of_the_mask(tmp_path: Path, area: str) -> None:
    (tmp_path / "a.json").write_text(json.dumps(content(RLE)).replace('"area": 74.0', f'"area": {area}'))
    dataset = read_coco(tmp_path / "a.json")
    assert dataset.annotations[1][0].area == MASK.sum() == 74
    assert findings(dataset) == [("mended", 1, "annotation 1")]


def test_an_export_with_names_of_its_own_is_read_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "_annotations.coco.json").write_text(json.dumps(content(RLE)))
    dataset = read_coco(tmp_path / "_annotations.coco.json")
    assert np.array_equal(mask_of(dataset), MASK)
    assert dataset.findings == ()
