"""What is said of image files from their headers, against what decoding them gives."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import ExifTags, Image

from refinemask.config import Window
from refinemask.data.coco import CocoImage
from refinemask.data.images import read_image
from refinemask.data.inspection.counted import Counted
from refinemask.data.inspection.image_files import FileSummary, ImageFile, look_at_files, same_content, summarise
from tests.support.own_data import HEIGHT, WIDTH, noise

PICTURE = Image.fromarray(noise(0))
COUNTS = [
    "missing", "unreadable", "of_another_size", "unrotated", "without_window", "deep", "turned", "alpha", "palette",
    "cmyk", "several", "duplicates", "unnamed",
]  # fmt: skip


def entry(name: str, height: int = HEIGHT, width: int = WIDTH, number: int = 1) -> CocoImage:
    return CocoImage(number, name, height, width)


def look(folder: Path, *images: CocoImage, decode: bool = False) -> list[ImageFile]:
    return look_at_files(images, folder, decode=decode)


def summary(folder: Path, *images: CocoImage) -> FileSummary:
    files = look(folder, *images)
    named = {str(file.path.resolve()) for file in files if file.path is not None}
    return summarise(files, same_content(files), folder.resolve(), named)


def found(counted: FileSummary) -> set[str]:
    return {name for name in COUNTS if getattr(counted, name)}


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[ExifTags.Base.Orientation] = orientation
    return tags


def test_ordinary_files_have_nothing_to_tell(tmp_path: Path) -> None:
    for number in range(3):
        Image.fromarray(noise(number)).save(tmp_path / f"{number}.png")
    counted = summary(tmp_path, *(entry(f"{number}.png", number=number) for number in range(3)))
    assert found(counted) == set()
    assert counted.kinds == {"RGB, 8 bits": 3}


@pytest.mark.parametrize("name", ["absent.png", "https://host/a.png", "../a.png", "a\0.png", "folder"])
def test_a_file_that_is_not_there_is_missing(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    [file] = look(tmp_path, entry(name))
    assert file.problem == "missing"
    assert file.reason
    assert "\n" not in file.reason
    counted = summary(tmp_path, entry(name))
    assert found(counted) == {"missing"}
    assert counted.missing == Counted(1, name)


@pytest.mark.parametrize("content", [b"", b"no picture at all", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0"])
def test_what_is_no_picture_is_unreadable(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.png").write_bytes(content)
    counted = summary(tmp_path, entry("a.png"))
    assert found(counted) == {"unreadable"}
    assert counted.unreadable == Counted(1, "a.png")


def test_a_picture_of_another_size_is_found(tmp_path: Path) -> None:
    PICTURE.save(tmp_path / "a.png")
    [file] = look(tmp_path, entry("a.png", HEIGHT, WIDTH + 1))
    assert file.problem == "of another size"
    assert f"is {HEIGHT}x{WIDTH}" in file.reason
    assert f"annotated at {HEIGHT}x{WIDTH + 1}" in file.reason


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_size_is_that_of_the_decoded_picture(tmp_path: Path, kind: str, orientation: int) -> None:
    path = tmp_path / "a"
    PICTURE.save(path, kind, exif=exif(orientation))
    height, width = read_image(path).shape[:2]
    assert (height, width) == ((HEIGHT, WIDTH) if orientation < 5 else (WIDTH, HEIGHT))
    [file] = look(tmp_path, entry("a", height, width))
    assert (file.problem, file.reason) == (None, "")
    assert file.turned == (orientation > 1)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(5, 9))
def test_annotations_on_the_unrotated_picture_are_recognised(tmp_path: Path, kind: str, orientation: int) -> None:
    PICTURE.save(tmp_path / "a.jpg", kind, exif=exif(orientation))
    counted = summary(tmp_path, entry("a.jpg"))
    assert found(counted) == {"unrotated"}
    assert found(summary(tmp_path, entry("a.jpg", WIDTH, HEIGHT))) == {"turned"}
    assert found(summary(tmp_path, entry("a.jpg", WIDTH, HEIGHT + 1))) == {"of_another_size"}


def test_damaged_metadata_do_not_hide_a_picture(tmp_path: Path) -> None:
    PICTURE.save(tmp_path / "a.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\xff no tags")
    assert found(summary(tmp_path, entry("a.jpg"))) == set()


DEEP: dict[str, tuple[np.ndarray, str]] = {
    "grey16.png": (noise(1, channels=1)[..., 0].astype(np.uint16) * 200, "grey, 16 bits"),
    "colour16.png": (noise(1).astype(np.uint16) * 200, "RGB, 16 bits"),
    "colour16.tif": (noise(1).astype(np.uint16) * 200, "RGB, 16 bits"),
    "grey16.tif": (noise(1, channels=1)[..., 0].astype(np.uint16) * 200, "grey, 16 bits"),
    "float.tif": (noise(1, channels=1)[..., 0].astype(np.float32) / 7, "grey, 32 bits float"),
    "grey16.pgm": (noise(1, channels=1)[..., 0].astype(np.uint16) * 200, "grey, 16 bits"),
}


@pytest.mark.parametrize("name", DEEP)
def test_more_than_8_bits_are_found(tmp_path: Path, name: str) -> None:
    pixels, kind = DEEP[name]
    assert cv2.imwrite(str(tmp_path / name), pixels)
    [file] = look(tmp_path, entry(name))
    assert (file.deep, file.problem) == (True, "without a window")
    assert "--window" in file.reason
    counted = summary(tmp_path, entry(name))
    assert found(counted) == {"deep", "without_window"}
    assert counted.kinds == {kind: 1}
    [file] = look_at_files([entry(name)], tmp_path, Window(low=0, high=4095), decode=True)
    assert (file.deep, file.problem) == (True, None)


def save_animation(path: Path) -> None:
    frames = [Image.fromarray(noise(number)) for number in range(3)]
    frames[0].save(path, save_all=True, append_images=frames[1:])


def save_phone_picture(path: Path) -> None:
    PICTURE.save(path, "MPO", save_all=True, append_images=[PICTURE])


def save_transparent_palette(path: Path) -> None:
    PICTURE.convert("P").save(path, transparency=0)


KINDS: dict[str, tuple[str, Callable[[Path], Any], set[str]]] = {
    "alpha": ("a.png", PICTURE.convert("RGBA").save, {"alpha"}),
    "grey with alpha": ("a.png", PICTURE.convert("LA").save, {"alpha"}),
    "alpha in WebP": ("a.webp", Image.fromarray(noise(0, channels=4)).save, {"alpha"}),
    "palette": ("a.png", PICTURE.convert("P").save, {"palette"}),
    "transparent palette": ("a.png", save_transparent_palette, {"palette", "alpha"}),
    "CMYK": ("a.jpg", PICTURE.convert("CMYK").save, {"cmyk"}),
    "GIF": ("a.gif", PICTURE.convert("P").save, {"palette"}),
    "animated GIF": ("a.gif", save_animation, {"palette", "several"}),
    "animated WebP": ("a.webp", save_animation, {"several"}),
    "pages of TIFF": ("a.tif", save_animation, {"several"}),
    "a phone's picture": ("a.jpg", save_phone_picture, set()),
    "grey": ("a.png", PICTURE.convert("L").save, set()),
    "black and white": ("a.png", PICTURE.convert("1").save, set()),
}


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_of_pictures_are_counted(tmp_path: Path, kind: str) -> None:
    name, save, expected = KINDS[kind]
    save(tmp_path / name)
    assert found(summary(tmp_path, entry(name))) == expected


def test_the_same_bytes_are_found_under_other_names(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "c/d.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        PICTURE.save(tmp_path / name)
    Image.fromarray(noise(1)).save(tmp_path / "other.png")
    images = [entry(name, number=i) for i, name in enumerate(["a.png", "other.png", "b.png", "c/d.png"])]
    counted = summary(tmp_path, *images)
    assert found(counted) == {"duplicates"}
    assert counted.duplicates == Counted(2, "b.png (as a.png)")


def test_files_of_one_size_and_other_bytes_are_no_duplicates(tmp_path: Path) -> None:
    for number in range(3):
        Image.fromarray(noise(number)).save(tmp_path / f"{number}.bmp")
    assert len({path.stat().st_size for path in tmp_path.iterdir()}) == 1
    assert found(summary(tmp_path, *(entry(f"{number}.bmp", number=number) for number in range(3)))) == set()


def test_two_entries_of_one_file_are_duplicates(tmp_path: Path) -> None:
    PICTURE.save(tmp_path / "a.png")
    assert summary(tmp_path, entry("a.png"), entry("./a.png", number=2)).duplicates.count == 1


def test_only_files_of_the_size_of_another_are_read_whole(tmp_path: Path) -> None:
    for number in range(3):
        Image.fromarray(noise(number, HEIGHT, WIDTH + (number == 2))).save(tmp_path / f"{number}.bmp")
    files = look(tmp_path, *(entry(f"{number}.bmp", number=number) for number in range(3)))
    assert {path.name for path in same_content(files)} == {"0.bmp", "1.bmp"}


def test_pictures_that_no_annotation_names_are_counted(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("a.png", "b.JPG", "sub/c.png", "._a.png"):
        PICTURE.save(tmp_path / name, "PNG", compress_level=len(name))
    (tmp_path / "notes.txt").write_text("none")
    assert summary(tmp_path, entry("a.png")).unnamed == Counted(2, "b.JPG")


def test_damage_behind_the_header_is_found_by_decoding(tmp_path: Path) -> None:
    PICTURE.save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(content[: len(content) // 2])
    assert look(tmp_path, entry("a.png"))[0].problem is None
    [file] = look(tmp_path, entry("a.png"), decode=True)
    assert file.problem == "unreadable"
    assert "truncated" in file.reason
