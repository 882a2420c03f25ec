"""Which images of a data set are shown, and how."""

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from refinemask.config import Window
from refinemask.data.inspection.overlays import LOST, Overlay, choose, make_overlays
from refinemask.data.inspection.run import Source, inspect
from tests.support.own_data import HEIGHT, WIDTH, square, write_own_data

pytest.importorskip("supervision")

RED = np.array(LOST)
GREY = Image.new("RGB", (WIDTH, HEIGHT), (128, 128, 128))


def source_of(folder: Path, objects: dict[str, list[dict[str, Any]]], **options: Any) -> Source:
    annotations, images = write_own_data(folder, objects, **options)
    for name in objects:
        GREY.save(images / name)
    return inspect(annotations, images).training.source


def pixels_of(overlay: Overlay) -> NDArray[np.int64]:
    """The picture as [HEIGHT, WIDTH, 3], reduced to the size of its file."""
    picture = Image.open(BytesIO(overlay.jpeg))
    assert (picture.height, picture.width) == overlay.size
    return np.asarray(picture.resize((WIDTH, HEIGHT), Image.Resampling.BOX)).astype(np.int64)


def test_objects_are_coloured_and_named_images_have_a_reason(tmp_path: Path) -> None:
    source = source_of(tmp_path, {"a.png": [square(10, 12, 20)]}, classes={1: "cat"})
    [overlay] = make_overlays(source, 4, seed=0)
    assert (overlay.name, overlay.trainable, overlay.lost, overlay.problem) == ("a.png", 1, {}, "")
    assert overlay.size == (448, 560)
    changed = abs(pixels_of(overlay) - 128).max(axis=2) > 20
    assert changed[14:30, 12:28].all()
    assert not changed[36:, 34:].any()


def run_lengths(x: int, y: int, side: int) -> dict[str, Any]:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[y : y + side, x : x + side] = True
    flat = mask.ravel("F")
    edges = np.flatnonzero(np.diff(flat, prepend=False))
    return {"size": [HEIGHT, WIDTH], "counts": np.diff([0, *edges, flat.size]).tolist()}


def test_run_lengths_are_drawn_as_polygons_are(tmp_path: Path) -> None:
    objects = {"a.png": [square(10, 12, 20)], "b.png": [square(10, 12, 20, segmentation=run_lengths(10, 12, 20))]}
    first, second = make_overlays(source_of(tmp_path, objects, classes={1: "cat"}), 2, seed=0)
    assert (abs(pixels_of(first) - pixels_of(second)).max(axis=2) > 40).mean() < 0.02


def test_lost_objects_are_boxed_in_red(tmp_path: Path) -> None:
    objects = {"a.png": [square(10, 12, 20, area=0), square(45, 30, 25)]}
    [overlay] = make_overlays(source_of(tmp_path, objects, classes={1: "cat"}), 1, seed=0)
    assert overlay.lost == {"objects without area": 1}
    assert overlay.why == "with lost objects"
    picture = np.asarray(Image.open(BytesIO(overlay.jpeg))).astype(np.int64)
    red = abs(picture - RED).max(axis=2) < 60
    rows, columns = np.nonzero(red)
    corners = np.array([columns.min(), rows.min(), columns.max(), rows.max()]) / 7
    np.testing.assert_allclose(corners, [10, 12, 30, 32], atol=0.6)


@pytest.mark.parametrize("box", [[500, 500, 20, 20], [-500, 3, 20, 20], [1e9, -1e9, 5, 5]])
def test_lost_objects_outside_the_image_are_drawn_at_its_edge(tmp_path: Path, box: list[float]) -> None:
    [overlay] = make_overlays(source_of(tmp_path, {"a.png": [square(bbox=box)]}), 1, seed=0)
    assert overlay.lost == {"objects outside their image": 1}


def test_a_picture_of_another_size_is_shown_without_objects(tmp_path: Path) -> None:
    annotations, images = write_own_data(tmp_path, {"a.png": [square()]})
    Image.new("RGB", (HEIGHT, WIDTH), (128, 128, 128)).save(images / "a.png")
    [overlay] = make_overlays(inspect(annotations, images).training.source, 1, seed=0)
    assert overlay.size == (560, 448)
    assert "but was annotated at 64x80" in overlay.problem
    assert np.ptp(np.asarray(Image.open(BytesIO(overlay.jpeg)))) < 5


def test_deep_images_are_shown_through_their_window(tmp_path: Path) -> None:
    annotations, images = write_own_data(tmp_path, {"a.png": []})
    Image.fromarray(np.full((HEIGHT, WIDTH), 3000, np.uint16)).save(images / "a.png")
    assert list(make_overlays(inspect(annotations, images).training.source, 1, seed=0)) == []
    found = inspect(annotations, images, window=Window(low=2000, high=4000))
    [overlay] = make_overlays(found.training.source, 1, seed=0)
    assert abs(pixels_of(overlay) - 128).max() < 4


def test_files_that_cannot_be_read_are_passed_over(tmp_path: Path) -> None:
    annotations, images = write_own_data(tmp_path, {f"{i}.png": [square()] for i in range(4)})
    (images / "0.png").unlink()
    (images / "1.png").write_bytes(b"no picture")
    content = (images / "2.png").read_bytes()
    (images / "2.png").write_bytes(content[: len(content) // 2])
    overlays = make_overlays(inspect(annotations, images).training.source, 9, seed=0)
    assert [overlay.name for overlay in overlays] == ["3.png"]


def test_the_sample_shows_losses_full_images_and_every_class(tmp_path: Path) -> None:
    objects = {f"{i:02}.png": [square(3 * i)] for i in range(20)}
    objects |= {"lost.png": [square(iscrowd=1)], "full.png": [square(i) for i in range(9)]}
    objects |= {"rare.png": [square(category_id=3)], "empty.png": []}
    source = source_of(tmp_path, objects, classes={1: "cat", 2: "dog", 3: "unicorn"})
    chosen = {source.files[place].image.file_name: why for place, why in choose(source, 8, seed=3)}
    assert len(chosen) == 8
    assert chosen["lost.png"] == "with lost objects"
    assert chosen["full.png"] == "with the most objects"
    assert chosen["rare.png"] == "with unicorn"
    assert list(chosen.values())[-1] == "at random"
    assert chosen == {source.files[place].image.file_name: why for place, why in choose(source, 8, seed=3)}
    assert choose(source, 8, seed=3) != choose(source, 8, seed=4)


@pytest.mark.parametrize("number", [0, 1, 2, 3, 5, 50])
def test_no_image_is_shown_twice_and_no_more_than_asked_for(tmp_path: Path, number: int) -> None:
    source = source_of(tmp_path, {f"{i}.png": [square(), square(iscrowd=1)] for i in range(6)})
    places = [place for place, _ in choose(source, number, seed=0)]
    assert len(places) == len(set(places)) == min(number, 6)
